/* SPDX-License-Identifier: Apache-2.0 */
/* The modules written in Lua, from the sources, for a program that needs no installed ones. */
#include <string.h>

#include "thunk_lua.h"

static const struct module {
    const char *name;
    const unsigned char *text; /* ends with a 0 */
} modules[] = {
#include "lua_modules.inc"
};

static int open_module(lua_State *L)
{
    const struct module *module = lua_touserdata(L, lua_upvalueindex(1));
    const char *text = (const char *)module->text;
    (void)lua_pushfstring(L, "=%s", module->name);
    if (luaL_loadbuffer(L, text, strlen(text), lua_tostring(L, -1)) != LUA_OK) {
        return lua_error(L);
    }
    lua_call(L, 0, 1);
    return 1;
}

void pra__lua_preload(void *state)
{
    lua_State *L = state;
    int top = lua_gettop(L);
    lua_getglobal(L, "package");
    (void)lua_getfield(L, -1, "preload");
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)&modules[i]);
        lua_pushcclosure(L, open_module, 1);
        lua_setfield(L, -2, modules[i].name);
    }
    lua_settop(L, top);
}
