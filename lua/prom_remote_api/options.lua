-- SPDX-License-Identifier: Apache-2.0
-- Options that several functions take.
local options = {}

--- The limits in the table opts.limits, or nil if there are none, as a face (core) takes them.
function options.limits(face, opts)
  if not opts.limits then return nil end
  local limits = face.Limits()
  for name, value in pairs(opts.limits) do
    if not limits[name] then error("no such limit: " .. tostring(name), 4) end
    limits[name] = value
  end
  return limits
end

return options
