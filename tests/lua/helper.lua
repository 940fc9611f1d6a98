-- SPDX-License-Identifier: Apache-2.0
-- Runs before each spec file, and each script that one starts: which of the module's two faces is meant, where there is a choice.
package.loaded["prom_remote_api.face"] = os.getenv("PRA_LUA_FACE")
