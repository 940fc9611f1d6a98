-- SPDX-License-Identifier: Apache-2.0
-- Who may pass: tenants by header.
local core = require "prom_remote_api.faces"
local exchanges = require "prom_remote_api.nginx.exchanges"
local options = require "prom_remote_api.options"

local gate = {}

local Context = {} -- what is known before the body is read
Context.__index = function(_, name)
  if name == "user" then return ngx.var.remote_user or "" end
  if name == "remote_addr" then return ngx.var.remote_addr end
  if name == "path" then return ngx.var.uri end
  if name == "header" then
    return function(_, wanted) return ngx.req.get_headers(0)[wanted] end
  end
end

-- A list of names, or a function, as a function.
local function rule_of(allow)
  if type(allow) ~= "table" then return allow end
  local known = {}
  for key, value in pairs(allow) do known[type(key) == "number" and value or key] = value end
  return function(tenant) return known[tenant] ~= nil and known[tenant] ~= false end
end

local function failed(why)
  if type(why) == "table" and why.message and why.code then -- pra.reject, pra.retry
    local status = why.status or (why.code == core.ERR_REJECT and 400 or 503)
    return exchanges.refuse(status, why.message, { ["Retry-After"] = why.after })
  end
  ngx.log(ngx.ERR, "remote storage: the tenant gate failed: ", tostring(why))
  return exchanges.refuse(500, "the tenant gate failed")
end

--- A function for access_by_lua that lets pass the tenants allowed; see nginx.lua.
function gate.new(opts)
  options.known(opts, { "header", "allow", "default" })
  local header, allow = opts.header or "X-Scope-OrgID", rule_of(opts.allow)
  return function()
    local tenant = ngx.req.get_headers(0)[header]
    if type(tenant) == "table" then
      return exchanges.refuse(400, "more than one header " .. header)
    end
    tenant = tenant or opts.default
    if not tenant or tenant == "" then
      return exchanges.refuse(401, "no tenant: the header " .. header .. " is missing")
    end
    if allow then
      local ok, passes, why = pcall(allow, tenant, setmetatable({ tenant = tenant }, Context))
      if not ok then return failed(passes) end
      if not passes then
        return exchanges.refuse(403, why or "tenant " .. tenant .. " is not served here")
      end
      if type(passes) == "string" then tenant = passes end
    end
    ngx.req.set_header(header, tenant)
  end
end

return gate
