// What the clients of the earlier Meridian contract call, with ethers 6 and their own ABI; each step prints one JSON line.
//
//   node client.mjs PACKAGES URL BYTECODE_FILE ADMIN_KEY PEER_KEY PARTICIPANT...

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [packages, url, bytecodeFile, adminKey, peerKey, ...participants] = process.argv.slice(2);
const { ethers } = createRequire(`${packages}/`)("ethers");

const ABI = [
  "constructor(address admin)",
  "event MeasurementsAdded(string cid, uint256 indexed roundIndex, address indexed sender)",
  "event RoundStart(uint256 roundIndex)",
  "event Transfer(address indexed to, uint256 amount)",
  "event TransferFailed(address indexed to, uint256 amount)",
  "function addMeasurements(string cid) returns (uint256)",
  "function tick()",
  "function setScores(uint256 roundIndex, address[] addresses, uint256[] scores)",
  "function addBalances(address[] addresses, uint256[] balances) payable",
  "function releaseRewards()",
  "function adminAdvanceRound()",
  "function setNextRoundLength(uint256)",
  "function setRoundReward(uint256)",
  "function setMaxTransfersPerTx(uint256)",
  "function setMinBalanceForTransfer(uint256)",
  "function grantRole(bytes32 role, address account)",
  "function revokeRole(bytes32 role, address account)",
  "function hasRole(bytes32 role, address account) view returns (bool)",
  "function currentRoundIndex() view returns (uint256)",
  "function nextRoundLength() view returns (uint256)",
  "function roundReward() view returns (uint256)",
  "function minBalanceForTransfer() view returns (uint256)",
  "function availableBalance() view returns (uint256)",
  "function rewardsScheduledFor(address) view returns (uint256)",
  "function readyForTransfer(uint256) view returns (address)",
  "function scheduledForTransfer(uint256) view returns (address)",
  "function participantCountReadyForTransfer() view returns (uint256)",
  "function participantCountScheduledForTransfer() view returns (uint256)",
  "function EVALUATE_ROLE() view returns (bytes32)",
];
const MAX_SCORE = 10n ** 15n;

function say(step, facts = {}) {
  const text = (_, value) => (typeof value === "bigint" ? value.toString() : value);
  console.log(JSON.stringify({ step, ...facts }, text));
}

const done = async (sending) => (await sending).wait();

async function until(what, holds) {
  const end = Date.now() + 20_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`${what} did not come within 20 s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const provider = new ethers.JsonRpcProvider(url, undefined, { cacheTimeout: -1 });
provider.pollingInterval = 100;
const admin = new ethers.NonceManager(new ethers.Wallet(adminKey, provider));
const peer = new ethers.NonceManager(new ethers.Wallet(peerKey, provider));

const factory = new ethers.ContractFactory(ABI, readFileSync(bytecodeFile, "utf8"), admin);
const ie = await factory.deploy(await admin.getAddress());
await ie.waitForDeployment();
const byPeer = ie.connect(peer);
say("deployed", { address: await ie.getAddress(), round: await ie.currentRoundIndex() });

// The round tracker and the evaluator listen.
const rounds = [];
const added = [];
await ie.on("RoundStart", (index, ...rest) => {
  rounds.push({ index, block: rest.at(-1).log.blockNumber });
});
await ie.on("MeasurementsAdded", (cid, roundIndex, sender) => added.push({ cid, roundIndex, sender }));

// The operator: settings, roles, money.
await done(ie.setNextRoundLength(3));
await done(ie.setRoundReward(ethers.parseEther("10")));
await done(ie.setMaxTransfersPerTx(2));
await done(ie.setMinBalanceForTransfer(ethers.parseEther("1")));
const role = await ie.EVALUATE_ROLE();
await done(ie.grantRole(role, await peer.getAddress()));
await done(admin.sendTransaction({ to: await ie.getAddress(), value: ethers.parseEther("100") }));
say("settings", {
  length: await ie.nextRoundLength(),
  reward: await ie.roundReward(),
  minimum: await ie.minBalanceForTransfer(),
  available: await ie.availableBalance(),
  evaluator: await ie.hasRole(role, await peer.getAddress()),
});
await done(ie.adminAdvanceRound());

// The publisher: the round of its measurements is in the first log.
const receipt = await done(byPeer.addMeasurements("bafybeiclient"));
const first = ie.interface.parseLog(receipt.logs[0]);
say("measurements", { name: first.name, cid: first.args[0], round: first.args[1], sender: first.args[2] });

// Rounds go on by anybody's tick once their blocks are over; the publisher adds measurements in the same transaction.
const before = await ie.currentRoundIndex();
let advancing;
while ((await ie.currentRoundIndex()) === before) advancing = await done(byPeer.addMeasurements("bafybeinext"));
const [one, two] = advancing.logs.map((log) => ie.interface.parseLog(log));
say("advanced", { logs: [one.name, two.name], of: one.args[1], started: two.args[0] });

// The evaluator scores the round that is over.
await done(byPeer.setScores(before, participants, [MAX_SCORE / 2n, MAX_SCORE / 4n, MAX_SCORE / 4n]));
const scheduled = [];
for (const one of participants) scheduled.push(await ie.rewardsScheduledFor(one));
say("scored", { scheduled, ready: await ie.participantCountReadyForTransfer(), zero: await ie.readyForTransfer(0) });
try {
  await byPeer.setScores(before + 7n, participants, [1n, 1n, 1n]);
  say("wrong round", { reason: null });
} catch (error) {
  say("wrong round", { reason: error.reason });
}
peer.reset();

// The rewards service adds balances; then the monthly release, paid by ticks.
const sums = [ethers.parseEther("1"), ethers.parseEther("2")];
await done(ie.addBalances(participants.slice(0, 2), sums, { value: sums[0] + sums[1] }));
await done(ie.releaseRewards());
const waiting = await ie.participantCountScheduledForTransfer();
const last = await ie.scheduledForTransfer(waiting - 1n);
let ticks = 0;
for (; (await ie.participantCountScheduledForTransfer()) > 0n; ticks++) await done(byPeer.tick());
const paid = (await ie.queryFilter(ie.filters.Transfer())).map(({ args }) => ({ to: args.to, amount: args.amount }));
say("paid", { waiting, last, ticks, paid });

await until("RoundStart", () => rounds.length >= 2);
await until("MeasurementsAdded", () => added.length >= 2);
// 50 blocks back there; this chain is younger than that.
const logged = await ie.queryFilter("RoundStart", -Math.min(50, await provider.getBlockNumber()));
say("heard", {
  rounds: rounds.map(({ index }) => index),
  blocks: rounds.every(({ index, block }) =>
    logged.some((log) => log.args[0] === index && log.blockNumber === block)),
  logged: logged.map((log) => log.args[0]),
  cids: [...new Set(added.map(({ cid }) => cid))],
});
await ie.removeAllListeners();
provider.destroy();
