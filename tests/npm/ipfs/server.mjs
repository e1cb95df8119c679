// An IPFS node without a network, and its HTTP RPC API: node server.mjs NODE_MODULES REPO PORT
import { pathToFileURL } from 'node:url'

// A dependency of js-ipfs asks for this; Node has it from version 22 on.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((accept, refuse) => { resolve = accept; reject = refuse })
  return { promise, resolve, reject }
}

const [modules, repo, port] = process.argv.slice(2)
const load = (name) => import(pathToFileURL(`${modules}/${name}/src/index.js`))
const { create } = await load('ipfs-core')
const { HttpApi } = await load('ipfs-http-server')
const node = await create({
  repo,
  offline: true,
  silent: true,
  config: {
    Addresses: { Swarm: [], API: `/ip4/127.0.0.1/tcp/${port}`, Gateway: '' },
    Bootstrap: [],
    Discovery: { MDNS: { Enabled: false }, webRTCStar: { Enabled: false } }
  }
})
const api = new HttpApi(node)
await api.start()
console.log(JSON.stringify({ event: 'ready' }))
process.on('SIGTERM', async () => {
  await api.stop()
  await node.stop()
  process.exit(0)
})
