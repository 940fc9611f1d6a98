-- SPDX-License-Identifier: Apache-2.0
-- A function that raises "not enough memory" at once, for scripts that are tested.
return function()
  if jit then return ("x"):rep(1e6):rep(1e5) end
  if _VERSION == "Lua 5.1" then return require("wire_bits").exhaust() end
  return io.open("/dev/null"):read(2 ^ 46)
end
