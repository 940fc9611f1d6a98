/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What our C files use of Lua 5.4's C interface, for 5.1 (and so LuaJIT), 5.2 and 5.3. They are
 * written with 5.4's names, but for integers: see pra__lua_push_int64 and its sisters. Values of
 * userdata (uservalues) are not used.
 */
#ifndef PRA_LUA_COMPAT_H
#define PRA_LUA_COMPAT_H

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdio.h>

#if LUA_VERSION_NUM < 501 || LUA_VERSION_NUM > 504
#error "this needs Lua 5.1, 5.2, 5.3 or 5.4"
#endif

#if LUA_VERSION_NUM < 504

#define lua_newuserdatauv(L, size, values) (lua_newuserdata)((L), (size))

#endif

#if LUA_VERSION_NUM < 503

#define LUA_MAXINTEGER INT64_MAX
#define LUA_MININTEGER INT64_MIN

/* ---- reading: 5.3 returns the type of what was pushed */

static inline int pra__lua_getfield(lua_State *L, int index, const char *name)
{
    (lua_getfield)(L, index, name);
    return lua_type(L, -1);
}

static inline int pra__lua_gettable(lua_State *L, int index)
{
    (lua_gettable)(L, index);
    return lua_type(L, -1);
}

static inline int pra__lua_rawget(lua_State *L, int index)
{
    (lua_rawget)(L, index);
    return lua_type(L, -1);
}

static inline int pra__lua_rawgeti(lua_State *L, int index, lua_Integer number)
{
    (lua_rawgeti)(L, index, (int)number);
    return lua_type(L, -1);
}

#define lua_getfield pra__lua_getfield
#undef lua_gettable
#define lua_gettable pra__lua_gettable
#define lua_rawget pra__lua_rawget
#define lua_rawgeti pra__lua_rawgeti
#define lua_rawseti(L, index, number) (lua_rawseti)((L), (index), (int)(number))
#undef luaL_getmetatable
#define luaL_getmetatable(L, name) pra__lua_getfield((L), LUA_REGISTRYINDEX, (name))

#if LUA_VERSION_NUM < 502

/* LuaJIT makes one NaN of all that lua_pushnumber is given. Stale markers stay what they are; needs
 * no more stack than that. pra__lua_push_stale_nan comes first in a state. */
void pra__lua_push_number(lua_State *L, double value);
#define lua_pushnumber(L, value) pra__lua_push_number((L), (value))

#define LUA_OK 0

#undef lua_absindex /* SWIG has some of these too */
#undef lua_rawlen
#define lua_rawlen lua_objlen

static inline int pra__lua_absindex(lua_State *L, int index)
{
    return index > 0 || index <= LUA_REGISTRYINDEX ? index : lua_gettop(L) + 1 + index;
}
#define lua_absindex pra__lua_absindex

/* Needs a free slot on the stack, and one more in 5.1 to set. */
static inline int pra__lua_rawgetp(lua_State *L, int index, const void *key)
{
    index = lua_absindex(L, index);
    lua_pushlightuserdata(L, (void *)(uintptr_t)key);
    return lua_rawget(L, index);
}

static inline void pra__lua_rawsetp(lua_State *L, int index, const void *key)
{
    index = lua_absindex(L, index);
    lua_pushlightuserdata(L, (void *)(uintptr_t)key);
    lua_insert(L, -2);
    lua_rawset(L, index);
}
#undef lua_rawsetp
#define lua_rawsetp pra__lua_rawsetp

static inline void pra__lua_setmetatable(lua_State *L, const char *type)
{
    (void)luaL_getmetatable(L, type);
    (void)lua_setmetatable(L, -2);
}
#define luaL_setmetatable pra__lua_setmetatable

static inline void *pra__lua_testudata(lua_State *L, int index, const char *type)
{
    void *data = lua_touserdata(L, index);
    if (!data || !lua_getmetatable(L, index)) {
        return NULL;
    }
    (void)luaL_getmetatable(L, type);
    int same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same ? data : NULL;
}
#define luaL_testudata pra__lua_testudata

static inline void pra__lua_setfuncs(lua_State *L, const luaL_Reg *functions)
{
    for (; functions->name; functions++) {
        lua_pushcfunction(L, functions->func);
        lua_setfield(L, -2, functions->name);
    }
}
#define luaL_setfuncs(L, functions, none) pra__lua_setfuncs((L), (functions))

static inline int pra__lua_getsubtable(lua_State *L, int index, const char *name)
{
    index = lua_absindex(L, index);
    if (lua_getfield(L, index, name) == LUA_TTABLE) {
        return 1;
    }
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, index, name);
    return 0;
}
#define luaL_getsubtable pra__lua_getsubtable

static inline void pra__lua_requiref(lua_State *L, const char *name, lua_CFunction open, int global)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    (void)luaL_getsubtable(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
    if (global) {
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_GLOBALSINDEX, name);
    }
}
#define luaL_requiref pra__lua_requiref

static inline int pra__lua_loadfilex(lua_State *L, const char *path, const char *mode)
{
    FILE *file = *mode == 't' ? fopen(path, "rb") : NULL;
    int first = file ? getc(file) : EOF;
    if (first == '#') { /* luaL_loadfile skips such a line */
        while (first != EOF && first != '\n') {
            first = getc(file);
        }
        first = first == EOF ? EOF : getc(file);
    }
    if (file) {
        (void)fclose(file);
    }
    if (first == *LUA_SIGNATURE) {
        (void)lua_pushfstring(L, "%s: attempt to load a binary chunk (mode is 't')", path);
        return LUA_ERRSYNTAX;
    }
    return luaL_loadfile(L, path);
}
#define luaL_loadfilex pra__lua_loadfilex

static inline lua_Number pra__lua_tonumberx(lua_State *L, int index, int *is_number)
{
    if (is_number) {
        *is_number = lua_isnumber(L, index);
    }
    return lua_tonumber(L, index);
}
#define lua_tonumberx pra__lua_tonumberx

static inline const char *pra__lua_tolstring(lua_State *L, int index, size_t *len)
{
    if (!luaL_callmeta(L, index, "__tostring")) {
        switch (lua_type(L, index)) {
        case LUA_TNUMBER:
        case LUA_TSTRING:
            lua_pushvalue(L, index);
            break;
        case LUA_TBOOLEAN:
            lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false");
            break;
        case LUA_TNIL:
            lua_pushliteral(L, "nil");
            break;
        default:
            (void)lua_pushfstring(L, "%s: %p", luaL_typename(L, index), lua_topointer(L, index));
        }
    }
    return lua_tolstring(L, -1, len);
}
#define luaL_tolstring pra__lua_tolstring

/* The message and the calls that led to it, innermost first. */
static inline void pra__lua_traceback(lua_State *L, lua_State *of, const char *message, int level)
{
    enum { SHOWN = 22 };
    lua_Debug call;
    int top = lua_gettop(L);
    (void)lua_pushfstring(L, "%s\nstack traceback:", message);
    for (int shown = 0; lua_getstack(of, level, &call); level++, shown++) {
        if (shown == SHOWN) {
            lua_pushliteral(L, "\n\t...");
            break;
        }
        (void)lua_getinfo(of, "Sln", &call);
        (void)lua_pushfstring(L, "\n\t%s:%d: in %s '%s'", call.short_src, call.currentline,
                              *call.what == 'm' ? "main chunk" : "function",
                              call.name ? call.name : "?");
        lua_concat(L, lua_gettop(L) - top);
    }
    lua_concat(L, lua_gettop(L) - top);
}
#define luaL_traceback pra__lua_traceback

#else /* 5.2 */

static inline int pra__lua_rawgetp(lua_State *L, int index, const void *key)
{
    (lua_rawgetp)(L, index, key);
    return lua_type(L, -1);
}

#endif

#undef lua_rawgetp
#define lua_rawgetp pra__lua_rawgetp

static inline int pra__lua_geti(lua_State *L, int index, lua_Integer number)
{
    index = lua_absindex(L, index);
    lua_pushinteger(L, number);
    return lua_gettable(L, index);
}
#define lua_geti pra__lua_geti

/* ---- numbers: whole ones are integers */

#undef lua_tointegerx
static inline lua_Integer pra__lua_tointegerx(lua_State *L, int index, int *is_integer)
{
    lua_Number number = lua_tonumber(L, index);
    int whole = lua_isnumber(L, index) && number >= -0x1p63 && number < 0x1p63 &&
                (lua_Number)(int64_t)number == number;
    if (is_integer) {
        *is_integer = whole;
    }
    return whole ? (lua_Integer)number : 0;
}
#define lua_tointegerx pra__lua_tointegerx

static inline int pra__lua_isinteger(lua_State *L, int index)
{
    int whole = 0;
    if (lua_type(L, index) == LUA_TNUMBER) {
        (void)lua_tointegerx(L, index, &whole);
    }
    return whole;
}
#define lua_isinteger pra__lua_isinteger

#endif /* < 5.3 */

/* ---- integers of 64 bits: lua_integer.c */

/*
 * 5.3 and later have them. Before, a number stands for one up to 2^53 and a string of decimal
 * digits for all others, so that nothing is lost; unsigned ones above INT64_MAX are such strings
 * everywhere.
 */
void pra__lua_push_int64(lua_State *L, int64_t value);
void pra__lua_push_uint64(lua_State *L, uint64_t value);
/* Pushes the string in any case. */
void pra__lua_push_int64_text(lua_State *L, int64_t value);
void pra__lua_push_uint64_text(lua_State *L, uint64_t value);

/* 1 and the value if there is one at index: a whole number, a string of decimal digits, or an
 * int64_t or uint64_t of LuaJIT. Else 0, and out is left alone. May raise only for the last. */
int pra__lua_to_int64(lua_State *L, int index, int64_t *out);
int pra__lua_to_uint64(lua_State *L, int index, uint64_t *out);

/* The argument arg, from min to max; raises an error that says what is wanted. */
int64_t pra__lua_check_int64(lua_State *L, int arg, int64_t min, int64_t max);
uint64_t pra__lua_check_uint64(lua_State *L, int arg);

/* Pushes pra.stale_nan. */
void pra__lua_push_stale_nan(lua_State *L);

#endif /* PRA_LUA_COMPAT_H */
