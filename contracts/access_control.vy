# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Roles with the interface of OpenZeppelin's AccessControl
@custom:contract-name access_control
@license Apache-2.0
@notice Accounts hold roles; holders of a role's admin role grant and take it. Every role's admin
        is the default admin role, as where that interface is used without more.
@dev A library, written against the interface only: functions, events, errors and the interface id
     0x7965db0b. Errors carry arguments there, which Vyper's assertions cannot, so they are encoded
     by hand.
"""


event RoleGranted:
    role: indexed(bytes32)
    account: indexed(address)
    sender: indexed(address)

event RoleRevoked:
    role: indexed(bytes32)
    account: indexed(address)
    sender: indexed(address)


DEFAULT_ADMIN_ROLE: public(constant(bytes32)) = empty(bytes32)
ERC165_ID: constant(bytes4) = 0x01ffc9a7
ACCESS_CONTROL_ID: constant(bytes4) = 0x7965db0b

hasRole: public(HashMap[bytes32, HashMap[address, bool]])


@deploy
def __init__():
    pass


@external
@view
def supportsInterface(interfaceId: bytes4) -> bool:
    """
    @notice Whether this contract has an interface (ERC-165).
    """
    return interfaceId == ERC165_ID or interfaceId == ACCESS_CONTROL_ID


@external
@view
def getRoleAdmin(role: bytes32) -> bytes32:
    """
    @notice The role whose holders may grant and take `role`.
    """
    return DEFAULT_ADMIN_ROLE


@external
def grantRole(role: bytes32, account: address):
    """
    @notice Gives a role to an account. Only admins.
    """
    self._check_admin()
    self._grant(role, account)


@external
def revokeRole(role: bytes32, account: address):
    """
    @notice Takes a role from an account. Only admins.
    """
    self._check_admin()
    self._revoke(role, account)


@external
def renounceRole(role: bytes32, callerConfirmation: address):
    """
    @notice Gives up one's own role.
    @param callerConfirmation The caller, against calls by mistake.
    """
    if callerConfirmation != msg.sender:
        raw_revert(method_id("AccessControlBadConfirmation()"))
    self._revoke(role, msg.sender)


@internal
@view
def _check_admin():
    if not self.hasRole[DEFAULT_ADMIN_ROLE][msg.sender]:
        raw_revert(
            abi_encode(
                msg.sender,
                DEFAULT_ADMIN_ROLE,
                method_id=method_id("AccessControlUnauthorizedAccount(address,bytes32)"),
            )
        )


@internal
def _grant(role: bytes32, account: address):
    """
    @notice Gives a role; nothing happens, and nothing is logged, if the account has it.
    """
    if not self.hasRole[role][account]:
        self.hasRole[role][account] = True
        log RoleGranted(role=role, account=account, sender=msg.sender)


@internal
def _revoke(role: bytes32, account: address):
    """
    @notice Takes a role; nothing happens, and nothing is logged, if the account has it not.
    """
    if self.hasRole[role][account]:
        self.hasRole[role][account] = False
        log RoleRevoked(role=role, account=account, sender=msg.sender)
