-- SPDX-License-Identifier: Apache-2.0
-- A Redis of the tests' own, on loopback, with its data in a folder of the tests.
local program = require "program"

local redis_server = {}
redis_server.__index = redis_server

local function path()
  local unpacked = os.getenv("PRA_ROOT") .. "/build/tools/usr/bin/redis-server" -- see ./dev
  if program.run("test -x " .. unpacked) == 0 then return unpacked end
  local code, output = program.run("command -v redis-server")
  return code == 0 and output:match("^[^\n]+") or nil
end

--- Whether there is the program, and what it takes to speak with it.
function redis_server.found() return (pcall(require, "socket")) and path() ~= nil end

--- Starts one; flags as of redis-server. Fields: port, path (a socket of the machine).
function redis_server.new(flags)
  local folder = program.folder .. "/redis"
  assert(os.execute("mkdir -p " .. folder))
  local self = setmetatable({ folder = folder, path = folder .. "/socket", flags = flags or "" },
    redis_server)
  self.port, self.held = program.hold_port()
  self:start()
  return self
end

--- Again, on the same port, with the data that it has on the disk.
function redis_server:start()
  self.running = program.start(("env -u LD_PRELOAD %s --bind 127.0.0.1 --port %d --unixsocket %s --dir %s "
    .. "--save '\"\"' --appendonly yes --appendfsync always %s"):format(path(), self.port, self.path,
    self.folder, self.flags), "(Ready to accept connections)")
end

function redis_server:stop(signal) self.running:stop(signal or "KILL") end

return redis_server
