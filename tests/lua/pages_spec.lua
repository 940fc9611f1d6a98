-- SPDX-License-Identifier: Apache-2.0
-- The pages in lua/docs: every block of Lua that says "run: lua" prints what the page shows.
local DOCS = assert(os.getenv "PRA_ROOT") .. "/lua/docs/"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

-- { how, text } of each fenced block with a comment that says how it is run.
local function blocks(page)
  local list = {}
  for how, text in read(page):gmatch "<!%-%- run: ([^\n]-) %-%->\n```%w*\n(.-\n)```" do
    list[#list + 1] = { how = how, text = text }
  end
  return list
end

local function run(text, name)
  local lines = {}
  local environment = setmetatable({
    print = function(...)
      local line = {}
      for i = 1, select("#", ...) do line[i] = tostring((select(i, ...))) end
      lines[#lines + 1] = table.concat(line, "\t") .. "\n"
    end,
  }, { __index = _G })
  local chunk
  if setfenv then -- luacheck: ignore
    chunk = setfenv(assert(loadstring(text, name)), environment) -- luacheck: ignore
  else
    chunk = assert(load(text, name, "t", environment))
  end
  chunk()
  return table.concat(lines)
end

describe("the page", function()
  local pages = assert(io.popen("ls '" .. DOCS .. "'"))
  for page in pages:lines() do
    it(page .. " prints what it shows", function()
      local list, checked = blocks(DOCS .. page), 0
      for i, block in ipairs(list) do
        local after = list[i + 1]
        if block.how == "lua" and after and after.how == "output" then
          assert.equal(after.text, run(block.text, "=" .. page))
          checked = checked + 1
        end
      end
      if page == "api.md" then assert.equal(5, checked) end
    end)
  end
  pages:close()
end)
