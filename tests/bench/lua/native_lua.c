/* SPDX-License-Identifier: Apache-2.0 */
/* native.h for Lua, the same for 5.1 to 5.4. */
#include "native.h"

#include <lauxlib.h>
#include <lua.h>
#include <time.h>

/* clock(): microseconds of the processor, of this thread; more exact than os.clock. */
static int l_clock(lua_State *L)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    lua_pushnumber(L, (lua_Number)t.tv_sec * 1e6 + (lua_Number)t.tv_nsec / 1e3);
    return 1;
}

static int l_write_request(lua_State *L) /* series, version */
{
    char *block;
    size_t len = native_write_request((size_t)luaL_checkinteger(L, 1),
                                      (int32_t)luaL_checkinteger(L, 2), &block);
    lua_pushlstring(L, block, len);
    return 1;
}

static int l_read_request(lua_State *L) /* type of answer */
{
    char *block;
    size_t len = native_read_request((int32_t)luaL_checkinteger(L, 1), &block);
    lua_pushlstring(L, block, len);
    return 1;
}

static int l_decode(lua_State *L) /* block, version */
{
    size_t len;
    const char *block = luaL_checklstring(L, 1, &len);
    native_decode(block, len, (int32_t)luaL_checkinteger(L, 2));
    return 0;
}

static int l_decode_new(lua_State *L) /* block, version */
{
    size_t len;
    const char *block = luaL_checklstring(L, 1, &len);
    native_decode_new(block, len, (int32_t)luaL_checkinteger(L, 2));
    return 0;
}

static int l_exchange(lua_State *L) /* target, body → status, body */
{
    size_t len, answer_len = 0;
    const char *body = luaL_checklstring(L, 2, &len), *answer = NULL;
    lua_pushinteger(L, native_exchange(luaL_checkstring(L, 1), "application/x-protobuf", body, len,
                                       &answer, &answer_len));
    lua_pushlstring(L, answer_len ? answer : "", answer_len);
    return 2;
}

SHOWN int luaopen_native(lua_State *L);

int luaopen_native(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"clock", l_clock},   {"write_request", l_write_request}, {"read_request", l_read_request},
        {"decode", l_decode}, {"exchange", l_exchange},           {"decode_new", l_decode_new},
        {NULL, NULL}};
    lua_newtable(L);
    for (const luaL_Reg *f = functions; f->name != NULL; f++) {
        lua_pushcfunction(L, f->func);
        lua_setfield(L, -2, f->name);
    }
    return 1;
}
