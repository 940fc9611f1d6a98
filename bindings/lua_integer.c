/* SPDX-License-Identifier: Apache-2.0 */
/* Integers of 64 bits, and stale markers, in all versions of Lua: lua_compat.h says how. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lua_compat.h"
#include "pra.h"

enum { TYPE_CDATA = 10 }; /* what LuaJIT's lua_type says of one */

void pra__lua_push_int64_text(lua_State *L, int64_t value)
{
    char text[sizeof "-9223372036854775808"];
    int len = snprintf(text, sizeof text, "%" PRId64, value);
    (void)lua_pushlstring(L, text, (size_t)len);
}

void pra__lua_push_uint64_text(lua_State *L, uint64_t value)
{
    char text[sizeof "18446744073709551615"];
    int len = snprintf(text, sizeof text, "%" PRIu64, value);
    (void)lua_pushlstring(L, text, (size_t)len);
}

void pra__lua_push_int64(lua_State *L, int64_t value)
{
#if LUA_VERSION_NUM >= 503
    lua_pushinteger(L, value);
#else
    const int64_t exact = INT64_C(1) << 53;
    if (value >= -exact && value <= exact) {
        lua_pushnumber(L, (lua_Number)value);
    } else {
        pra__lua_push_int64_text(L, value);
    }
#endif
}

void pra__lua_push_uint64(lua_State *L, uint64_t value)
{
    if (value <= INT64_MAX) {
        pra__lua_push_int64(L, (int64_t)value);
    } else {
        pra__lua_push_uint64_text(L, value);
    }
}

/* An optional sign and decimal digits, then the ending: LuaJIT's LL and ULL, or nothing. */
typedef struct digits {
    uint64_t magnitude;
    int negative;
} digits;

static int read_digits(const char *text, size_t len, digits *out)
{
    uint64_t magnitude = 0;
    const char *end = text + len;
    const int negative = len > 0 && *text == '-';
    text += negative;
    if (text == end) {
        return 0;
    }
    for (; text < end; text++) {
        const unsigned digit = (unsigned)(unsigned char)*text - '0';
        if (digit > 9 || magnitude > (UINT64_MAX - digit) / 10) {
            return 0;
        }
        magnitude = magnitude * 10 + digit;
    }
    *out = (digits){magnitude, negative};
    return 1;
}

static size_t without_ending(const char *text, size_t len)
{
    if (len > 3 && memcmp(text + len - 3, "ULL", 3) == 0) {
        return len - 3;
    }
    return len > 2 && memcmp(text + len - 2, "LL", 2) == 0 ? len - 2 : 0;
}

static int to_digits(lua_State *L, int index, digits *out)
{
    size_t len;
    int found = 0;
    const int type = lua_type(L, index);
    if (type == LUA_TSTRING) {
        const char *text = lua_tolstring(L, index, &len);
        found = read_digits(text, len, out);
    } else if (type == TYPE_CDATA && luaL_callmeta(L, index, "__tostring")) {
        const char *text = lua_tolstring(L, -1, &len);
        found = text && read_digits(text, without_ending(text, len), out);
        lua_pop(L, 1);
    }
    return found;
}

static int from_digits(const digits *d, int64_t *out)
{
    if (d->magnitude > (uint64_t)INT64_MAX + (d->negative != 0)) {
        return 0;
    }
    *out = (int64_t)(d->negative ? 0 - d->magnitude : d->magnitude);
    return 1;
}

int pra__lua_to_int64(lua_State *L, int index, int64_t *out)
{
    digits d;
    int whole = 0;
    if (lua_type(L, index) == LUA_TNUMBER) {
        int64_t value = lua_tointegerx(L, index, &whole);
        *out = whole ? value : *out;
        return whole;
    }
    return to_digits(L, index, &d) && from_digits(&d, out);
}

int pra__lua_to_uint64(lua_State *L, int index, uint64_t *out)
{
    digits d;
    int64_t value;
    if (lua_type(L, index) != LUA_TNUMBER) {
        int found = to_digits(L, index, &d) && (!d.negative || d.magnitude == 0);
        *out = found ? d.magnitude : *out;
        return found;
    }
    if (pra__lua_to_int64(L, index, &value)) {
        *out = value < 0 ? *out : (uint64_t)value;
        return value >= 0;
    }
    lua_Number number = lua_tonumber(L, index);
    if (!(number >= 0x1p63 && number < 0x1p64)) {
        return 0;
    }
    *out = (uint64_t)number;
    return 1;
}

static void refuse(lua_State *L, int arg, const char *min, const char *max)
{
    (void)luaL_argerror(
        L, arg,
        lua_pushfstring(L,
                        "wanted a whole number from %s to %s, as a number or as a "
                        "string of decimal digits, got %s",
                        min, max,
                        lua_isstring(L, arg) ? lua_tostring(L, arg) : luaL_typename(L, arg)));
}

int64_t pra__lua_check_int64(lua_State *L, int arg, int64_t min, int64_t max)
{
    int64_t value;
    if (!pra__lua_to_int64(L, arg, &value) || value < min || value > max) {
        pra__lua_push_int64_text(L, min);
        pra__lua_push_int64_text(L, max);
        refuse(L, arg, lua_tostring(L, -2), lua_tostring(L, -1));
    }
    return value;
}

uint64_t pra__lua_check_uint64(lua_State *L, int arg)
{
    uint64_t value;
    if (!pra__lua_to_uint64(L, arg, &value)) {
        refuse(L, arg, "0", "18446744073709551615");
    }
    return value;
}

/* ---- stale markers */

#if LUA_VERSION_NUM < 502

static const char stale_key; /* of the registry, where LuaJIT's is */

void pra__lua_push_number(lua_State *L, double value)
{
    if (isnan(value) && pra_is_stale(&value)) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &stale_key);
        if (lua_isnumber(L, -1)) {
            return;
        }
        lua_pop(L, 1);
    }
    (lua_pushnumber)(L, value);
}

/* A number of LuaJIT with these bits comes from its FFI only; nil in another Lua. */
static void keep_stale_nan(lua_State *L)
{
    static const char script[] = "local stale = ...\n"
                                 "if not rawget(_G, 'jit') then return nil end\n"
                                 "local ffi = require 'ffi'\n"
                                 "local number = ffi.new 'double[1]'\n"
                                 "ffi.copy(number, stale, 8)\n"
                                 "return number[0]\n";
    static const uint64_t bits = PRA_STALE_NAN_BITS;
    if (luaL_loadbuffer(L, script, sizeof script - 1, "=stale_nan") != LUA_OK) {
        lua_error(L);
    }
    lua_pushlstring(L, (const char *)&bits, sizeof bits);
    lua_call(L, 1, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &stale_key);
}

#endif

void pra__lua_push_stale_nan(lua_State *L)
{
    static const uint64_t bits = PRA_STALE_NAN_BITS;
    double value;
    memcpy(&value, &bits, sizeof value);
#if LUA_VERSION_NUM < 502
    keep_stale_nan(L);
#endif
    lua_pushnumber(L, value);
}
