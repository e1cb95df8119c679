// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

// Any order of funding, reports and claims: claims never pay more than reports gave, reports never give more than was
// funded, and no money is lost. The handler is Evaluations and Registry to the contract, and every sponsor and node.

interface Vm {
    function readFile(string calldata path) external view returns (string memory);
    function parseBytes(string calldata text) external pure returns (bytes memory);
    function warp(uint256 time) external;
    function deal(address who, uint256 amount) external;
}

struct Node {
    bytes32 hash;
    uint256 annotation;
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
    function total_funded() external view returns (uint256);
    function total_claimed() external view returns (uint256);
    function last_total() external view returns (uint128);
    function budget(uint64 epoch) external view returns (uint128);
}

contract Handler {
    Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint64 constant EPOCH_SECONDS = 600;
    uint64 constant EPOCHS = 64;

    Rewards public target;
    address public rewards;
    uint64 public now_s = 1000;
    uint64 public next; // epoch that is reported next
    uint256 public funded;
    uint128[4] public reported;
    uint256 public calls;
    uint256 public paid_claims;
    mapping(uint64 => uint128[4]) amounts;

    function start(bytes memory code) external {
        vm.warp(now_s);
        rewards = address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(this), hex"01")))));
        bytes memory init = abi.encodePacked(code, abi.encode(address(this), address(this), address(0)));
        address made;
        assembly {
            made := create(0, add(init, 32), mload(init))
        }
        require(made == rewards && made != address(0), "deployment");
        target = Rewards(made);
        vm.deal(address(this), 1e30);
    }

    // What Registry and Evaluations answer.
    function network() external pure returns (bytes32) { return bytes32(uint256(1)); }
    function genesis() external pure returns (uint64) { return 1000; }
    function epoch_seconds() external pure returns (uint64) { return EPOCH_SECONDS; }
    function first_epoch() external pure returns (uint64) { return 0; }
    function epoch_set(uint64) external pure returns (uint64) { return 1; }
    function registry() external view returns (address) { return address(this); }
    function disputes() external pure returns (address) { return address(0); }
    function last_epoch() external view returns (uint64) { return next == 0 ? 0 : next - 1; }

    function fund(uint64 first, uint64 n, uint96 each) external {
        calls++;
        n = 1 + n % 8;
        first = next + first % 16;
        uint256 value = 1 + each % 1e20;
        target.fund{value: n * value}(first, n, value);
        funded += n * value;
    }

    // A report that gives at most the budget, or, one time in eight, more, which must revert.
    function report(uint128[4] memory more, uint8 greedy) external {
        calls++;
        uint128 left = target.budget(next);
        bool wrong = greedy % 8 == 0;
        uint128[4] memory now_;
        uint128 total;
        for (uint256 i; i < 4; i++) {
            uint128 each = left == 0 ? 0 : more[i] % (left + 1);
            left -= each;
            now_[i] = reported[i] + each;
            total += now_[i];
        }
        if (wrong) {
            now_[0] += left + 1;
            total += left + 1;
        }
        try target.accept(next, root(now_), total, now_s, 0, next == 0 ? 0 : next - 1) {
            require(!wrong, "more than the budget was accepted");
            reported = now_;
            amounts[next] = now_;
            next++;
        } catch {
            require(wrong, "a right report was refused");
        }
    }

    // A right claim of any report, or one with another amount or payee, which must revert.
    function claim(uint64 epoch, uint8 who, uint128 wrongly, uint8 kind) external {
        calls++;
        if (next == 0) return;
        epoch = epoch % next;
        uint64 i = who % 4;
        uint128[4] memory each = amounts[epoch];
        uint128 cumulative = each[i];
        address payee = payeeOf(i);
        bool wrong = kind % 4 == 0 && wrongly != cumulative;
        if (wrong) cumulative = wrongly;
        bool due = !wrong && cumulative > target.claimed(keyOf(i));
        try target.claim(epoch, keyOf(i), payee, cumulative, i, 4, path(each, i)) {
            require(due, "a claim that nobody had was paid");
            paid_claims++;
        } catch {
            require(!due, "a due claim was refused");
        }
    }

    // ---- the claim tree of four leaves

    function keyOf(uint64 i) public pure returns (bytes32) { return sha256(abi.encodePacked("node", i)); }
    function payeeOf(uint64 i) public pure returns (address) { return address(uint160(0x1000000 + i)); }

    function leaf(uint128[4] memory each, uint64 i) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(0x06), keyOf(i), payeeOf(i), each[i]));
    }

    function pair(uint128[4] memory each, uint64 i) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(
            uint8(0x07), leaf(each, i), uint64(1), each[i], leaf(each, i + 1), uint64(1), each[i + 1]));
    }

    function root(uint128[4] memory each) internal pure returns (bytes32) {
        uint128 a = each[0] + each[1];
        uint128 b = each[2] + each[3];
        bytes32 top = sha256(abi.encodePacked(uint8(0x07), pair(each, 0), uint64(2), a, pair(each, 2), uint64(2), b));
        return sha256(abi.encodePacked(uint8(0x13), uint64(4), top, uint64(4), a + b));
    }

    function path(uint128[4] memory each, uint64 i) internal pure returns (Node[] memory nodes) {
        nodes = new Node[](2);
        uint64 beside = i ^ 1;
        uint64 other = i < 2 ? 2 : 0;
        nodes[0] = Node(leaf(each, beside), ((uint256(1) << 128) | each[beside]) << 64);
        nodes[1] = Node(pair(each, other), ((uint256(2) << 128) | (each[other] + each[other + 1])) << 64);
    }
}

contract RewardsInvariants {
    Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    Handler handler;

    function setUp() public {
        handler = new Handler();
        handler.start(vm.parseBytes(vm.readFile("bytecode/Rewards")));
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetContracts() public view returns (address[] memory all) {
        all = new address[](1);
        all[0] = address(handler);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory all) {
        all = new FuzzSelector[](1);
        bytes4[] memory selectors = new bytes4[](3);
        selectors[0] = Handler.fund.selector;
        selectors[1] = Handler.report.selector;
        selectors[2] = Handler.claim.selector;
        all[0] = FuzzSelector(address(handler), selectors);
    }

    function invariant_money_is_conserved() public view {
        Rewards target = handler.target();
        uint256 paid;
        for (uint64 i; i < 4; i++) {
            require(handler.payeeOf(i).balance == target.claimed(handler.keyOf(i)), "paid is not what is booked");
            require(target.claimed(handler.keyOf(i)) <= handler.reported(i), "paid more than reported");
            paid += handler.payeeOf(i).balance;
        }
        require(target.total_funded() == handler.funded(), "funded");
        require(address(target).balance == handler.funded() - paid, "money appeared or was lost");
        require(target.total_claimed() == paid, "claimed");
        require(paid <= target.last_total() && target.last_total() <= handler.funded(), "more than was given");
    }
}
