-- SPDX-License-Identifier: Apache-2.0
-- What a relay makes of the answers of the other side, some of which are none.
local pra = require "prom_remote_api"
local program = require "program"
local samples = require "samples"
local wire = require "wire"

-- Sends for each request what the file that the header X-Answer names has, and notes what it got.
local SERVER = [[
  local server = require("socket").bind("127.0.0.1", 0)
  io.stdout:write('msg="listening" port=', (select(2, server:getsockname())), "\n")
  io.stdout:flush()
  while true do
    local client, size, name, heads = server:accept(), 0, nil, {}
    for line in function() return client:receive "*l" end do
      if line == "" then break end
      heads[#heads + 1] = line
      size = line:lower():match "^content%-length: (%d+)" or size
      name = line:lower():match "^x%-answer: (.+)" or name
    end
    client:receive(tonumber(size))
    local file = assert(io.open(arg[1] .. "/seen", "wb"))
    file:write(table.concat(heads, "\n"), "\n")
    file:close()
    file = io.open(arg[1] .. "/" .. name, "rb")
    if file then client:send(file:read "*a") end
    if name ~= "silence" then client:close() end
  end]]

local OK = "HTTP/1.1 204 No Content\r\n\r\n"

describe("relay", function()
  if not pcall(require, "socket") then
    pending("needs LuaSocket")
    return
  end
  local relay = require "prom_remote_api.storages.relay"
  local server

  setup(function()
    server = program.start(("%s %s %s"):format(os.getenv("PRA_LUA_PROGRAM"),
      program.write_file("server.lua", SERVER), program.folder))
  end)
  teardown(function()
    program.kill_all()
    program.remove_files()
  end)

  -- A handler whose relay gets the answer `text`.
  local function answered(text, options)
    options = options or {}
    local url = ("http://127.0.0.1:%s/api/v1/"):format(server.port)
    options.write_url, options.read_url = url .. "write?a=b", url .. "read"
    options.headers = { ["X-Answer"] = text and "answer" or "silence", Authorization = "Bearer x" }
    if text then program.write_file("answer", text) end
    return assert(pra.handler { storage = relay.new(options) })
  end

  local function written(text, options)
    local status, headers, body = answered(text, options):request(wire.write(wire.some()))
    return { status, body, headers["retry-after"] }
  end

  it("passes verdicts on", function()
    local none = "Content-Length: 0\r\n\r\n"
    assert.same({ 204, "" }, written(OK))
    assert.same({ 204, "" }, written "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert.same({ 404, "no such tenant\n" },
      written "HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\n\r\nno such tenant\n")
    assert.same({ 400, "status 400\n" }, written("HTTP/1.1 400 Bad Request\r\n" .. none))
    assert.same({ 429, "slow\n", "30" },
      written "HTTP/1.1 429 Too Many\r\nRetry-After: 30\r\nContent-Length: 4\r\n\r\nslow")
    assert.same({ 503, "away\n" }, written("HTTP/1.1 503 Away\r\nRetry-After: soon\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n4\r\naway\r\n0\r\n\r\n"))
    assert.same({ 507, "status 507\n" }, written("HTTP/1.1 507 Full\r\n" .. none))
    assert.same({ 502, "status 302\n" },
      written("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n" .. none))
  end)

  it("takes nothing for an answer that is none", function()
    for _, text in ipairs { "", "HTTP/1.1 204", "HTTP/1.1 204 No Content\r\n", "HTTP/1.1 204 No Content\r\nServer: x",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nok",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "+OK\r\n", "204 No Content\r\n\r\n" } do
      local answer = written(text)
      assert.equal(503, answer[1], text)
      assert.matches("^http://127.0.0.1:%d+/api/v1/write%?a=b does not answer: ", answer[2])
    end
    assert.equal(503, written(nil, { timeout = 0.05 })[1])
  end)

  it("finds nobody there", function()
    local port, held = program.hold_port()
    local url = "http://127.0.0.1:" .. port
    local handler = assert(pra.handler { storage = relay.new { write_url = url } })
    local status, _, body = handler:request(wire.write(wire.some()))
    assert.equal(503, status)
    assert.matches("refused", body)
    assert.equal(404, (handler:request(wire.read { { start_ms = 0, end_ms = 1, matchers = samples.ALL } })))
    held:close()
  end)

  it("takes whole answers to reads only", function()
    local query = wire.read { { start_ms = 0, end_ms = 1, matchers = samples.ALL } }
    local empty = wire.compress "\10\0" -- one result
    local head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n"
    local function read(text) return (answered(text):request(query)) end
    assert.equal(200, read(head .. "Content-Length: " .. #empty .. "\r\n\r\n" .. empty))
    assert.equal(502, read(head .. "\r\n" .. empty))
    assert.equal(503, read(head .. "Content-Length: " .. #empty + 1 .. "\r\n\r\n" .. empty))
    assert.equal(502, read(head .. "Content-Length: 3\r\n\r\nabc"))
    assert.equal(502, read(head .. "Content-Length: 1\r\n\r\n\0")) -- no result
    assert.equal(404, read "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone")
  end)

  it("says what it was told", function()
    local handler = answered(OK, { forward = { "X-Trace", "X-None" }, version = 1 })
    local request = wire.write(wire.some(), { ["X-Scope-OrgID"] = "blue", ["X-Trace"] = "7", ["X-Other"] = "1" })
    assert.equal(204, (handler:request(request)))
    local seen = program.read_file(program.folder .. "/seen"):lower()
    for _, line in ipairs { "post /api/v1/write?a=b http/1.1", "x-scope-orgid: blue", "x-trace: 7", "authorization: bearer x",
      "content-type: application/x-protobuf", "content-encoding: snappy", "x-prometheus-remote-write-version: 0.1.0" } do
      assert.is_truthy(("\n" .. seen):find("\n" .. line .. "\n", 1, true), line .. " in " .. seen)
    end
    assert.not_matches("x%-other", seen)
    assert.equal(204, (answered(OK, { tenant_header = "X-Other-Tenant" }):request(request)))
    assert.matches("x%-other%-tenant: blue", program.read_file(program.folder .. "/seen"):lower())
  end)

  it("does not believe who has not understood 2.0", function()
    local request = wire.write_v2(wire.some())
    local status, _, body = answered(OK):request(request)
    assert.same({ 502, "the receiver does not know remote write 2.0; give the relay version = 1\n" }, { status, body })
    local told = OK:gsub("\r\n\r\n", "\r\nX-Prometheus-Remote-Write-Samples-Written: 1\r\n\r\n")
    assert.equal(204, (answered(told):request(request)))
    assert.matches("version: 2.0.0", program.read_file(program.folder .. "/seen"):lower())
    assert.equal(204, (answered(OK, { version = 1 }):request(request)))
    assert.equal(204, (answered(OK):request(wire.write_v2 {})))
  end)

  it("may be given another way", function()
    local seen
    local storage = relay.new { write_url = "https://x.example/write", transport = function(url, headers, body, timeout)
      seen = { url, headers["Content-Type"], pra.decode(body).sample_count, timeout }
      return nil, "not today"
    end }
    local status, _, body = assert(pra.handler { storage = storage }):request(wire.write(wire.some(3)))
    assert.same({ 503, "https://x.example/write does not answer: not today\n" }, { status, body })
    assert.same({ "https://x.example/write", "application/x-protobuf", 3, 30 }, seen)
    for _, url in ipairs { "https://x.example/write", "/write", "x", "http://" } do
      assert.has_error(function() relay.new { write_url = url } end)
    end
  end)
end)
