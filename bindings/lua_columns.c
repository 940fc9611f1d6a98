/* SPDX-License-Identifier: Apache-2.0 */
/* Columns: what a script reads numbers from without a table of them. A long one points into its
 * request, of which it is an owner; a short one has a copy, which costs less than an owner. */
#include "thunk_lua.h"

#include <string.h>

enum { COPIED_BYTES = 128 }; /* up to here a copy is cheaper: measured */

typedef struct column {
    const void *items; /* NULL and no count when it was collected */
    size_t count;
    pra_write_request *owner; /* NULL: items are behind this struct */
    pra__lua_kind kind;
    int integers;
} column;

static size_t item_bytes(pra__lua_kind kind)
{
    return kind == PRA__LUA_UINT32 ? sizeof(uint32_t) : sizeof(int64_t);
}

void pra__lua_column_push(lua_State *L, const pra_write_request *request, int copied,
                          pra__lua_numbers numbers)
{
    const size_t bytes = numbers.count * item_bytes(numbers.kind);
    copied = copied || bytes <= COPIED_BYTES;
    column *c = lua_newuserdatauv(L, sizeof *c + (copied ? bytes : 0), 0);
    *c = (column){.kind = numbers.kind, .integers = numbers.integers};
    if (copied) {
        if (bytes > 0) {
            memcpy(c + 1, numbers.items, bytes);
        }
        luaL_setmetatable(L, PRA__LUA_COLUMN_COPY);
        c->items = c + 1;
    } else {
        luaL_setmetatable(L, PRA__LUA_COLUMN);
        c->owner = pra_write_request_share(request);
        c->items = c->owner ? numbers.items : NULL;
    }
    c->count = c->items ? numbers.count : 0;
    if (c->owner) {
        pra__lua_hold(L, bytes);
    }
}

/* NULL if it is something else. */
static const column *to_column(lua_State *L, int index)
{
    const column *c = luaL_testudata(L, index, PRA__LUA_COLUMN_COPY);
    return c ? c : luaL_testudata(L, index, PRA__LUA_COLUMN);
}

static const column *check_column(lua_State *L)
{
    const column *c = to_column(L, 1);
    if (!c) {
        (void)luaL_argerror(L, 1, "a Column is wanted");
    }
    return c;
}

int pra__lua_column_get(lua_State *L, int index, pra__lua_numbers *out)
{
    const column *c = to_column(L, index);
    if (c) {
        *out = (pra__lua_numbers){c->items, c->count, c->kind, c->integers};
    }
    return c != NULL;
}

static void push_item(lua_State *L, const column *c, size_t i)
{
    switch (c->kind) {
    case PRA__LUA_DOUBLE:
        lua_pushnumber(L, ((const double *)c->items)[i]);
        break;
    case PRA__LUA_INT64:
        pra__lua_push_integer(L, ((const int64_t *)c->items)[i], c->integers);
        break;
    case PRA__LUA_UINT32:
        lua_pushinteger(L, (lua_Integer)((const uint32_t *)c->items)[i]);
    }
}

/* column[i], or a method of upvalue 1. Only columns have this function, as a metamethod that no
 * script can get hold of. */
static int column_index(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TNUMBER) {
        const column *c = lua_touserdata(L, 1);
        lua_Number number = lua_tonumber(L, 2);
        if (!(number >= 1 && number <= (lua_Number)c->count)) {
            return 0;
        }
        size_t i = (size_t)number;
        if ((lua_Number)i != number) {
            return 0;
        }
        push_item(L, c, i - 1);
        return 1;
    }
    lua_settop(L, 2);
    (void)lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

static int column_len(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_column(L)->count);
    return 1;
}

static int column_newindex(lua_State *L)
{
    return luaL_error(L, "a Column cannot be changed; column:totable() gives a table that can");
}

/* column:totable([first [, last]]) */
static int column_totable(lua_State *L)
{
    const column *c = check_column(L);
    const int64_t count = (int64_t)c->count;
    int64_t first = lua_isnoneornil(L, 2) ? 1 : pra__lua_check_int64(L, 2, INT64_MIN, INT64_MAX);
    int64_t last = lua_isnoneornil(L, 3) ? count : pra__lua_check_int64(L, 3, INT64_MIN, INT64_MAX);
    first = first < 1 ? 1 : first;
    last = last > count ? count : last;
    lua_createtable(L, last >= first ? (int)(last - first + 1) : 0, 0);
    for (int64_t i = first; i <= last; i++) {
        push_item(L, c, (size_t)i - 1);
        lua_rawseti(L, -2, (lua_Integer)(i - first + 1));
    }
    return 1;
}

static int column_gc(lua_State *L)
{
    column *c = luaL_checkudata(L, 1, PRA__LUA_COLUMN);
    pra_write_request *owner = c->owner;
    pra__lua_let_go(L, c->count * item_bytes(c->kind));
    c->owner = NULL;
    c->items = NULL;
    c->count = 0;
    pra_write_request_free(owner);
    return 0;
}

static void register_type(lua_State *L, const char *type, int methods, const luaL_Reg *meta)
{
    (void)luaL_newmetatable(L, type);
    luaL_setfuncs(L, meta, 0);
    lua_pushvalue(L, methods);
    lua_pushcclosure(L, column_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void pra__lua_columns_register(lua_State *L)
{
    static const luaL_Reg methods[] = {{"totable", column_totable}, {NULL, NULL}};
    static const luaL_Reg both[] = {
        {"__len", column_len}, {"__newindex", column_newindex}, {NULL, NULL}};
    static const luaL_Reg owning[] = {
        {"__len", column_len}, {"__newindex", column_newindex}, {"__gc", column_gc}, {NULL, NULL}};
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    register_type(L, PRA__LUA_COLUMN_COPY, lua_gettop(L), both);
    register_type(L, PRA__LUA_COLUMN, lua_gettop(L), owning);
    lua_setfield(L, -2, "Column");
}
