-- SPDX-License-Identifier: Apache-2.0
-- Every public function is annotated for language servers (LuaLS), and what is annotated is there.
local pra = require "prom_remote_api"

local ROOT = assert(os.getenv "PRA_ROOT") .. "/lua/"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

-- What people use; the others are these files' own affair.
local PUBLIC = { "init", "requests", "handler", "serve", "client", "verdicts", "buckets", "nginx",
  "storages/memory", "storages/sqlite", "storages/redis", "storages/relay" }

local function files()
  local list = {}
  for i, name in ipairs(PUBLIC) do list[i] = ROOT .. "prom_remote_api/" .. name .. ".lua" end
  return list
end

-- Each function at the left margin that others can call: { name, parameters, lines above it }.
local function functions(path)
  local text, list, above = read(path), {}, {}
  local returned = text:match "\nreturn ([%w_]+)\n*$"
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local name, parameters = line:match "^function ([%w_.:]+)%(([^)]*)%)"
    if not name then
      name, parameters = line:match "^local function ([%w_]+)%(([^)]*)%)"
      if name ~= returned then name = nil end
    end
    if name then list[#list + 1] = { name = name, parameters = parameters, above = above } end
    if line:match "^%-%-" then above[#above + 1] = line else above = {} end
  end
  return list
end

-- What an annotation has to name: a parameter, or that there is a comment with three dashes.
local function lacking(one)
  local has, documented = {}, false
  for _, line in ipairs(one.above) do
    documented = documented or line:match "^%-%-%-" ~= nil
    local name = line:match "^%-%-%-@param ([%w_.]+)%??"
    if name then has[name] = true end
  end
  if not documented then return "a comment" end
  for name in one.parameters:gmatch "[%w_.]+" do
    if name ~= "self" and name ~= "_" and not has[name] then return name end
  end
end

-- Fields and methods of the classes in library/, by class.
local function declared()
  local classes, class = {}, nil
  for line in read(ROOT .. "library/prom_remote_api.lua"):gmatch "[^\n]+" do
    local name = line:match "^%-%-%-@class pra%.(%w+)"
    if name then
      class = { fields = {}, methods = {} }
      classes[name] = class
    end
    local field = line:match "^%-%-%-@field ([%w_]+)%??"
    if field then class.fields[field] = true end
    local owner, method = line:match "^function (%w+):([%w_]+)%("
    if owner then classes[owner].methods[method] = true end
  end
  return classes
end

describe("annotations", function()
  it("name each parameter of what is documented", function()
    local checked, found = 0, {}
    for _, path in ipairs(files()) do
      for _, one in ipairs(functions(path)) do
        checked = checked + 1
        local name = lacking(one)
        if name then found[#found + 1] = path:sub(#ROOT + 1) .. ": " .. one.name .. ": " .. name end
      end
    end
    assert.is_true(checked > 30)
    assert.same({}, found)
  end)

  it("are there for every function of the module", function()
    local texts = {}
    for _, path in ipairs(files()) do texts[#texts + 1] = read(path) end
    local text = table.concat(texts, "\n") .. read(ROOT .. "library/prom_remote_api.lua")
    for name, value in pairs(pra) do
      if type(value) == "function" then
        local at = text:find("\n%-%-%-[^\n]*\n[^\n]*function %w*[.:]?" .. name .. "%(")
          or text:find("\n%-%-%-@field " .. name .. " ")
        assert.is_truthy(at, "no annotation of " .. name)
      end
    end
  end)

  it("are there for every method of requests, series and columns, and no others", function()
    local core = package.loaded["prom_remote_api.faces"]
    local classes, own = declared(), read(ROOT .. "prom_remote_api/requests.lua")
    for _, class in ipairs { "Request", "Series", "Column" } do
      local methods = {}
      for name, value in pairs(core[class]) do
        if type(value) == "function" and not name:match "^__" then methods[name] = true end
      end
      for name in pairs(classes[class].methods) do
        assert.is_truthy(methods[name], class .. " has no method " .. name)
      end
      for name in pairs(methods) do
        assert.is_truthy(classes[class].methods[name]
          or own:find("\nfunction " .. class .. ":" .. name .. "(", 1, true),
          class .. "." .. name .. " is not annotated")
      end
    end
  end)

  it("name fields that are there", function()
    local classes = declared()
    local optional = { start_timestamps = true, exemplars = true, histograms = true, hints = true,
      set = true, prefix = true, pointer = true, kind = true }
    local function check(class, object)
      local count = 0
      for name in pairs(classes[class].fields) do
        count = count + 1
        assert.is_true(optional[name] or object[name] ~= nil, class .. " has no field " .. name)
      end
      for name in pairs(classes[class].methods) do
        assert.equal("function", type(object[name]), class .. " has no method " .. name)
      end
      assert.is_true(count > 0)
    end
    local seen = {}
    local handler = assert(pra.handler { storage = {
      write = function(ctx, request)
        check("Context", ctx)
        check("Request", request)
        for series in request:series() do check("Series", series) end
        seen.write = true
      end,
      process_query = function(_, query, sink)
        check("QueryTable", query)
        assert.equal("function", type(query.matches))
        assert.equal("function", type(sink.add))
        seen.read = true
      end,
    } })
    local built = assert(pra.request())
    assert(built:add { labels = { __name__ = "up" }, timestamps = { 1 }, values = { 2 } })
    local status = handler:request { target = "/api/v1/write", headers = {}, body = built:encode() }
    assert.equal(204, status)
    local query = { start_ms = 0, end_ms = 9, matchers = { { type = "=", name = "__name__", value = "up" } } }
    local body = assert(pra.encode_queries { query })
    assert.equal(200, (handler:request { target = "/api/v1/read", headers = {}, body = body }))
    assert.same({ write = true, read = true }, seen)
  end)
end)
