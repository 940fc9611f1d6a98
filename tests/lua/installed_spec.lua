-- SPDX-License-Identifier: Apache-2.0
-- The package where `cmake --install` puts it.
local program = require "program"

describe("the installed package", function()
  teardown(program.remove_files)

  it("is found with the paths that the README names", function()
    local prefix = program.folder .. "/prefix"
    local code, output = program.run(("env -u LD_PRELOAD cmake --install %s --prefix %s"):format(os.getenv("PRA_BUILD"), prefix))
    assert.equal(0, code, output)
    local script = program.write_file("script.lua", [[
      local pra = require "prom_remote_api"
      local handler = assert(pra.handler { storage = { write = function() end } })
      print(pra.version, (handler:request { method = "GET", target = "/write" }))
    ]])
    code, output = program.run((
      "env -u LUA_PATH_5_4 -u LUA_CPATH_5_4 LUA_PATH='%s/share/lua/5.4/?/init.lua;;' LUA_CPATH='%s/lib/lua/5.4/?.so;;' %s %s")
      :format(prefix, prefix, os.getenv("PRA_LUA_PROGRAM"), script))
    assert.equal(0, code, output)
    assert.matches("^%d+%.%d+%.%d+\t405\n", output)
  end)
end)
