-- SPDX-License-Identifier: Apache-2.0
-- What the Lua benchmarks share: interleaved rounds and equal work proved by what cases return. Like
-- tests/bench/bench.h: prints one JSON object a line, for tests/bench/run.py.
local native = require "native"

local support = { face = os.getenv "PRA_BENCH_FACE", built = os.getenv "PRA_BENCH_BUILT" }
package.loaded["prom_remote_api.face"] = support.face

--- Before the name of a group: which Lua, and where there are two, which face.
support.lua = rawget(_G, "jit") and ("LuaJIT, %s face"):format(support.face) or _VERSION

local rounds = 7
for i = 1, #arg, 2 do
  assert(arg[i] == "--rounds" and tonumber(arg[i + 1]), "usage: [--rounds N]")
  rounds = tonumber(arg[i + 1])
end

local function once(case, iterations)
  local start = native.clock()
  for _ = 1, iterations do case.run() end
  return (native.clock() - start) / iterations
end

local function row(group, case)
  local samples = {}
  for i, sample in ipairs(case.samples) do samples[i] = ("%.3f"):format(sample) end
  print(('{"group":"%s","name":"%s","unit":"us","target":%g,"countable":false,"samples":[%s]}')
    :format(group, case.name, case.target or 0, table.concat(samples, ",")))
end

-- Cases that return something return the same.
local function check_equal_work(group, cases)
  local common
  for _, case in ipairs(cases) do
    local result = case.run()
    if result ~= nil then
      common = common or result
      assert(result == common, ("%s, %s: %s, not %s"):format(group, case.name, tostring(result),
        tostring(common)))
    end
  end
end

--- Cases { name, run, target } in turn, round after round; the first is what others are compared
--- with. Each runs for about the same time, iterations of the first, and at least three times: what
--- it leaves to the collector is its own to pay for.
function support.group(name, cases, iterations)
  name = support.lua .. ", " .. name
  for _ = 1, 2 do check_equal_work(name, cases) end
  for _, case in ipairs(cases) do
    case.us, case.samples = once(case, 1), {}
    case.iterations = math.max(3, math.floor(iterations * cases[1].us / case.us + 0.5))
  end
  for _ = 1, rounds do
    for _, case in ipairs(cases) do
      collectgarbage()
      table.insert(case.samples, once(case, case.iterations))
    end
  end
  for _, case in ipairs(cases) do row(name, case) end
end

return support
