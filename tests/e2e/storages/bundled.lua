-- A storage of prom_remote_api.storages, as the environment says: STORAGE, its name; LISTEN, for
-- pra.serve; BEHIND, the port of the Redis, or of the storage that a relay passes everything on to.
-- Its files are in the current folder.
local pra = require "prom_remote_api"

local name, behind = os.getenv "STORAGE", tonumber(os.getenv "BEHIND")
local new = require("prom_remote_api.storages." .. name).new
local options = {
  sqlite = "bundled.db",
  redis = { port = behind },
  relay = behind and {
    write_url = ("http://127.0.0.1:%d/api/v1/write"):format(behind),
    read_url = ("http://127.0.0.1:%d/api/v1/read"):format(behind),
  },
}

return assert(pra.serve { storage = new(options[name]), listen = os.getenv "LISTEN" })
