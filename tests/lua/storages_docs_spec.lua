-- SPDX-License-Identifier: Apache-2.0
-- The servers that lua/docs/storages.md shows, run as they stand but for ports.
local program = require "program"
local redis_server = require "redis_server"
local wire = require "wire"

local lua = os.getenv("PRA_LUA_PROGRAM")
local needs = { sqlite = "luasql.sqlite3", redis = "socket", relay = "socket" }

local function run(text, name)
  local path = program.write_file(name .. "_docs.lua", (text:gsub("127.0.0.1:9201", "127.0.0.1:0")))
  return program.start(("env -C %s %s %s"):format(program.folder, lua, path))
end

describe("the page on storages", function()
  teardown(function()
    program.kill_all()
    program.remove_files()
  end)

  local servers, names = {}, {}
  for text in program.read_file(os.getenv("PRA_ROOT") .. "/lua/docs/storages.md"):gmatch("```lua\n(.-)```") do
    local name = text:match("pra%.serve") and text:match("prom_remote_api%.storages%.(%w+)")
    if name then
      servers[name] = text
      names[#names + 1] = name
    end
    it("has Lua that can be read", function() assert((loadstring or load)(text)) end)
  end

  it("shows all of them", function() assert.same({ "memory", "sqlite", "redis", "relay" }, names) end)

  for _, name in ipairs(names) do
    it("shows " .. name, function()
      local text = servers[name]
      if needs[name] and not pcall(require, needs[name]) or name == "redis" and not redis_server.found() then
        pending("a library is missing")
        return
      end
      if name == "redis" then text = text:gsub("6379", redis_server.new().port .. ", timeout = 600") end
      if name == "relay" then text = text:gsub("9202", run(servers.memory, "upstream").port) end
      local server, now = run(text, name), os.time() * 1000
      local sent = { labels = { __name__ = "up", job = "x" }, timestamps = { now - 1, now }, values = { 1, 2.5 } }
      assert.same({ 204 }, (server:post(wire.write { sent })))
      assert.same({ 200, { sent } }, { server:ask { { "=", "job", "x" } } })
      assert.equal(0, server:stop())
    end)
  end
end)
