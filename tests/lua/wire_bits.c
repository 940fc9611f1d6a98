/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes for wire.lua that Lua before 5.3 cannot make or read: integers of 64 bits and doubles with
 * all their bits. An integer is one of Lua where Lua has them, else a number up to 2^53 and a
 * string of decimal digits beyond. Written without the library under test. */
#include <inttypes.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t integer_at(lua_State *L, int arg)
{
    if (lua_type(L, arg) == LUA_TSTRING) {
        const char *text = lua_tostring(L, arg);
        return *text == '-' ? (uint64_t)strtoll(text, NULL, 10) : strtoull(text, NULL, 10);
    }
#if LUA_VERSION_NUM >= 503
    return (uint64_t)luaL_checkinteger(L, arg);
#else
    return (uint64_t)(int64_t)luaL_checknumber(L, arg);
#endif
}

static void push_integer(lua_State *L, int64_t value)
{
#if LUA_VERSION_NUM >= 503
    lua_pushinteger(L, value);
#else
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    if (value >= -(INT64_C(1) << 53) && value <= INT64_C(1) << 53) {
        lua_pushnumber(L, (double)value);
    } else {
        lua_pushstring(L, text);
    }
#endif
}

/* int64(digits) */
static int to_int64(lua_State *L)
{
    push_integer(L, (int64_t)integer_at(L, 1));
    return 1;
}

/* varint(integer): bytes */
static int varint(lua_State *L)
{
    char bytes[10];
    size_t len = 0;
    for (uint64_t value = integer_at(L, 1);; value >>= 7) {
        int more = value > 0x7f;
        bytes[len++] = (char)((value & 0x7f) | (more ? 0x80u : 0u));
        if (!more) {
            break;
        }
    }
    lua_pushlstring(L, bytes, len);
    return 1;
}

/* read_varint(bytes, at): integer, the position behind it */
static int read_varint(lua_State *L)
{
    size_t len, at = (size_t)luaL_checkinteger(L, 2);
    const char *bytes = luaL_checklstring(L, 1, &len);
    uint64_t value = 0;
    for (unsigned shift = 0; at <= len && shift < 64; shift += 7) {
        const unsigned char byte = (unsigned char)bytes[at++ - 1];
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            break;
        }
    }
    push_integer(L, (int64_t)value);
    lua_pushinteger(L, (lua_Integer)at);
    return 2;
}

/* double(number): 8 bytes */
static int pack_double(lua_State *L)
{
    lua_Number number = luaL_checknumber(L, 1);
    char bytes[sizeof number];
    memcpy(bytes, &number, sizeof bytes);
    lua_pushlstring(L, bytes, sizeof bytes);
    return 1;
}

/* read_double(8 bytes): number */
static int read_double(lua_State *L)
{
    size_t len;
    const char *bytes = luaL_checklstring(L, 1, &len);
    lua_Number number;
    luaL_argcheck(L, len == sizeof number, 1, "8 bytes");
    memcpy(&number, bytes, sizeof number);
    lua_pushnumber(L, number);
    return 1;
}

/* exhaust(): raises "not enough memory". */
static int exhaust(lua_State *L)
{
    (void)lua_newuserdata(L, (size_t)1 << 46);
    return 0;
}

__attribute__((visibility("default"))) int luaopen_wire_bits(lua_State *L);
int luaopen_wire_bits(lua_State *L)
{
    static const luaL_Reg functions[] = {{"int64", to_int64},
                                         {"varint", varint},
                                         {"read_varint", read_varint},
                                         {"double", pack_double},
                                         {"read_double", read_double},
                                         {"exhaust", exhaust},
                                         {NULL, NULL}};
    lua_newtable(L);
    for (const luaL_Reg *f = functions; f->name; f++) {
        lua_pushcfunction(L, f->func);
        lua_setfield(L, -2, f->name);
    }
    return 1;
}
