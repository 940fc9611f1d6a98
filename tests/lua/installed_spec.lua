-- SPDX-License-Identifier: Apache-2.0
-- The package where `cmake --install` puts it.
local program = require "program"
local version = os.getenv "PRA_LUA_VERSION"

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
      "LUA_PATH='%s/share/lua/%s/?.lua;%s/share/lua/%s/?/init.lua;%s/tests/lua/?.lua;;' LUA_CPATH='%s/lib/lua/%s/?.so;;' %s %s")
      :format(prefix, version, prefix, version, os.getenv("PRA_ROOT"), prefix, version, os.getenv("PRA_LUA_PROGRAM"),
        script))
    assert.equal(0, code, output)
    assert.matches("^%d+%.%d+%.%d+\t405\n", output)
  end)
end)
