-- SPDX-License-Identifier: Apache-2.0
-- Programs for the tests: started in the background, spoken to with curl, ended with a signal.
local system = require "system" -- comes with busted
local wire = require "wire"

local program = {}
program.__index = program

local folder = os.tmpname()
os.remove(folder)
assert(os.execute("mkdir " .. folder))
program.folder = folder

function program.write_file(name, text)
  local path = folder .. "/" .. name
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

function program.read_file(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read("*a")
  file:close()
  return text
end

--- A port of 127.0.0.1 for a program to listen on, again and again, and the socket that holds it: while that is there
--- nobody else is given the port, and where nobody listens connections are refused.
function program.hold_port()
  local luasocket = require "socket"
  local socket = assert((luasocket.tcp4 or luasocket.tcp)())
  assert(socket:setoption("reuseaddr", true)) -- else the program could not have it too
  assert(socket:bind("127.0.0.1", 0))
  local _, port = socket:getsockname()
  return tonumber(port), socket
end

function program.remove_files() os.execute("rm -rf " .. folder) end

program.all = {} -- that were started

--- Ends what still runs, for which the interpreter would wait at its own end.
function program.kill_all()
  for _, one in pairs(program.all) do
    if one.pid and not one:exit_code() then one:stop("KILL") end
  end
end

-- Waits for what happens soon; the limit is only there to end a test that hangs.
function program.wait_until(what, get)
  for _ = 1, 6000 do
    local value = get()
    if value then return value end
    system.sleep(0.05)
  end
  error("waited in vain for " .. what(), 2)
end

local started = 0

--- Starts a command and waits until it listens: until its log has the pattern, of which the capture
--- is the port.
function program.start(command, pattern)
  started = started + 1
  local base = folder .. "/program" .. started
  local self = setmetatable({ log_path = base .. ".log", exit_path = base .. ".exit" }, program)
  -- Neither the program nor the shell that waits for it outlives this interpreter.
  program.all[started] = self
  self.shell = assert(io.popen(([[exec setpriv --pdeathsig KILL sh -c '
    setpriv --pdeathsig KILL sh -c "echo \$\$ >%s.pid; exec %s" >%s.log 2>&1; echo $? >%s.exit']])
    :format(base, command, base, base)))
  local function describe() return command .. " to listen: " .. self:log() end
  local listens, port = pcall(program.wait_until, describe, function()
    if self:exit_code() then error(command .. " ended: " .. self:log(), 0) end
    return self:log():match(pattern or "msg=\"?listening\"?[^\n]-[=:](%d+)\n")
  end)
  self.pid = program.read_file(base .. ".pid"):match("%d+")
  if not listens then
    if self.pid and not self:exit_code() then self:stop("KILL") end
    error(port, 0)
  end
  self.port = port
  return self
end

--- Runs a command to its end: exit code, output.
function program.run(command)
  local pipe = assert(io.popen(command .. " 2>&1; echo $?"))
  local text = pipe:read("*a")
  pipe:close()
  local output, code = text:match("^(.-)(%d+)\n$")
  return tonumber(code), output
end

function program:log() return program.read_file(self.log_path) end

function program:exit_code() return tonumber((program.read_file(self.exit_path):match("^(%d+)\n"))) end

--- Sends a signal and returns the exit code.
function program:stop(signal)
  assert(os.execute(("kill -%s %s"):format(signal or "TERM", self.pid)))
  return program.wait_until(function() return "the end: " .. self:log() end, function() return self:exit_code() end)
end

--- Posts a request of wire, `times` times at once: a list of statuses, the last body.
function program:post(request, times)
  local body, answer = program.write_file("body", request.body), folder .. "/answer"
  local command = { "env -u LD_PRELOAD curl -s -m 120 -Z --parallel-max 8 -o " .. answer .. " -w '%{http_code}\\n' --data-binary @" .. body }
  for name, value in pairs(request.headers) do command[#command + 1] = ("-H '%s: %s'"):format(name, value) end
  for i = 1, times or 1 do
    command[#command + 1] = ("%s http://127.0.0.1:%s%s"):format(i > 1 and "-o /dev/null" or "", self.port, request.target)
  end
  local statuses = {}
  local _, output = program.run(table.concat(command, " "))
  for line in output:gmatch("[^\n]+") do -- curl 7.88 shows its progress all the same
    statuses[#statuses + 1] = tonumber(line:match("^%d%d%d$"))
  end
  return statuses, program.read_file(answer)
end

--- Asks one query over all time: status, list of series.
function program:ask(matchers, extra)
  local statuses, body = self:post(wire.read({ { start_ms = 0, end_ms = wire.max, matchers = matchers } }, extra))
  if statuses[1] ~= 200 then return statuses[1], body end
  return 200, wire.read_response(wire.uncompress(body))[1]
end

return program
