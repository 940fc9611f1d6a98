-- usage: moody.lua LISTEN MOOD
-- A storage that refuses the first writes, the way MOOD says, and counts what it takes.
local pra = require "prom_remote_api"
local moody, refused, stored = { threads = 1 }, 0, 0

local answers = {
  retry = function() error(pra.retry "not now") end,
  reject = function() error(pra.reject "never") end,
  crash = function() error("a bug in the script") end,
}

function moody.write(ctx, request)
  if #request > 0 and refused < 5 then
    refused = refused + 1
    answers[arg[2]]()
  end
  for series in request:series() do stored = stored + #series.timestamps end
  print("stored " .. stored)
  io.stdout:flush()
end

return assert(pra.serve { listen = arg[1], storage = moody })
