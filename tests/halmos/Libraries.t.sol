// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

// Symbolic: for all inputs of these sizes the Vyper libraries compute what the formulas here say.

import {CODE as HARNESS} from "./HarnessCode.sol";
import {CODE as REWARDS} from "./RewardsCode.sol";

struct Node {
    bytes32 hash;
    uint256 annotation;
}

interface Harness {
    function signer(bytes32 digest, uint256 r, uint256 vs) external pure returns (address);
    function fold(bytes32 leaf, uint256 sums, uint64 index, uint64 size, Node[] calldata path)
        external
        pure
        returns (bytes32, uint256);
}

interface Rewards {
    function fund(uint64 first, uint64 n, uint256 each) external payable;
    function accept(uint64 epoch, bytes32 root, uint128 total, uint64 unlock, uint16 winner, uint64 previous)
        external
        returns (uint64);
    function claim(
        uint64 epoch,
        bytes32 key,
        address payee,
        uint128 cumulative,
        uint64 index,
        uint64 size,
        Node[] calldata path
    ) external;
    function claimed(bytes32 key) external view returns (uint128);
}

interface Vm {
    function assume(bool holds) external pure;
    function deal(address who, uint256 amount) external;
}

function create(bytes memory init) returns (address made) {
    assembly {
        made := create(0, add(init, 32), mload(init))
    }
    require(made != address(0));
}

contract LibrariesCheck {
    Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 constant S_MAX = 57896044618658097711785492504343953926418782139537452191302581570759080747168;
    Harness harness;

    function setUp() public {
        harness = Harness(create(HARNESS));
    }

    // A signature is what ecrecover says of (parity, r, s), and none with a great s is accepted.
    function check_signer(bytes32 digest, uint256 r, uint256 vs) public view {
        uint256 s = vs & ((1 << 255) - 1);
        address said = harness.signer(digest, r, vs);
        if (s > S_MAX) assert(said == address(0));
        else assert(said == ecrecover(digest, uint8(27 + (vs >> 255)), bytes32(r), bytes32(s)));
    }

    function word(uint64 count, uint128 total) internal pure returns (uint256) {
        return (uint256(count) << 128) | total;
    }

    // Two leaves: the root is the hash of both nodes in their order, its sums are the sums.
    function check_fold_two(bytes32 a, uint64 n, uint128 v, bytes32 b, uint64 m, uint128 w, bool right) public view {
        vm.assume(n < 2 ** 58 && m < 2 ** 58 && v < 2 ** 122 && w < 2 ** 122);
        Node[] memory path = new Node[](1);
        path[0] = Node(b, word(m, w) << 64);
        (bytes32 root, uint256 sums) = harness.fold(a, word(n, v), right ? 1 : 0, 2, path);
        bytes32 expected = right
            ? sha256(abi.encodePacked(uint8(0x07), b, m, w, a, n, v))
            : sha256(abi.encodePacked(uint8(0x07), a, n, v, b, m, w));
        assert(root == expected);
        assert(sums == word(n + m, v + w));
    }

    // A sum that could overflow, or bits behind it, are refused.
    function check_fold_refuses_great_sums(bytes32 a, bytes32 b, uint256 annotation) public view {
        vm.assume(annotation >> 250 != 0 || (annotation >> 186) & 63 != 0 || uint64(annotation) != 0);
        Node[] memory path = new Node[](1);
        path[0] = Node(b, annotation);
        try harness.fold(a, 1 << 128, 0, 2, path) { assert(false); } catch {}
    }

    // A path of another length than the place has is refused.
    function check_fold_refuses_another_place(bytes32 a, uint64 index, uint64 size, bytes32 b) public view {
        vm.assume(size < 4 && !(size == 2 && index < 2) && !(size == 3 && index == 2));
        Node[] memory path = new Node[](1);
        path[0] = Node(b, 1 << 192);
        try harness.fold(a, 1 << 128, index, size, path) { assert(false); } catch {}
    }
}

contract ClaimCheck {
    Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    address payable constant PAYEE = payable(address(0xbeef));
    Rewards target;
    address public rewards;

    function network() external pure returns (bytes32) { return bytes32(uint256(1)); }
    function genesis() external pure returns (uint64) { return 0; }
    function epoch_seconds() external pure returns (uint64) { return 600; }
    function first_epoch() external pure returns (uint64) { return 0; }
    function epoch_set(uint64) external pure returns (uint64) { return 1; }
    function registry() external view returns (address) { return address(this); }
    function disputes() external pure returns (address) { return address(0); }
    function last_epoch() external pure returns (uint64) { return 0; }

    // The address that create will give is told by a first call that fails.
    function setUp() public {
        bytes memory init = abi.encodePacked(REWARDS, abi.encode(address(this), address(this), address(0)));
        rewards = expected();
        target = Rewards(create(init));
    }

    function expected() internal view virtual returns (address) {
        return address(uint160(uint256(0xaaaa0002)));
    }

    function reported(bytes32 root, uint128 total) internal {
        vm.deal(address(this), 1 ether);
        target.fund{value: 1 ether}(0, 1, 1 ether);
        target.accept(0, root, total, 0, 0, 0);
    }

    function rootOf(bytes32 key, uint128 amount) internal pure returns (bytes32) {
        bytes32 leaf = sha256(abi.encodePacked(uint8(0x06), key, PAYEE, amount));
        return sha256(abi.encodePacked(uint8(0x13), uint64(1), leaf, uint64(1), amount));
    }

    // The only leaf is paid its amount once, whatever key and amount.
    function check_claim_pays_once(bytes32 key, uint128 amount) public {
        vm.assume(amount > 0 && amount <= 1 ether);
        reported(rootOf(key, amount), amount);
        // Halmos passes over reverts: only an assertion shows that there is none.
        try target.claim(0, key, PAYEE, amount, 0, 1, new Node[](0)) {} catch { assert(false); }
        assert(PAYEE.balance == amount && target.claimed(key) == amount);
        try target.claim(0, key, PAYEE, amount, 0, 1, new Node[](0)) { assert(false); } catch {}
    }

    // A claim whose hashes do not end in the root is refused, whatever it says.
    function check_claim_needs_the_root(bytes32 root, bytes32 key, uint128 amount, uint128 total) public {
        vm.assume(total <= 1 ether && root != rootOf(key, amount));
        reported(root, total);
        try target.claim(0, key, PAYEE, amount, 0, 1, new Node[](0)) { assert(false); } catch {}
    }
}
