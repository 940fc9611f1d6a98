/* SPDX-License-Identifier: Apache-2.0 */
/* What Lua's objects hold outside of Lua, which its collector does not see. */
#include "thunk_lua.h"

#include <limits.h>

enum { HELD_MIN = 32 << 20, STEP_MIN = 256 << 10 }; /* bytes that do not matter */

typedef struct held {
    size_t bytes;
    size_t limit; /* beyond it all garbage is collected */
    size_t owed;  /* since the last step */
} held;

static const char held_key; /* its address is the key in the registry */

static held *get(lua_State *L)
{
    (void)lua_rawgetp(L, LUA_REGISTRYINDEX, &held_key);
    held *h = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return h;
}

void pra__lua_held_register(lua_State *L)
{
    if (!get(L)) {
        held *h = lua_newuserdatauv(L, sizeof *h, 0);
        *h = (held){0, HELD_MIN, 0};
        lua_rawsetp(L, LUA_REGISTRYINDEX, &held_key);
    }
}

/* A step is enough for a collector that works in steps; a generational one, as that of lua5.4, does
 * not look at objects that have become old before Lua's own memory grows. */
void pra__lua_hold(lua_State *L, size_t bytes)
{
    luaL_checkstack(L, 2, NULL);
    held *h = get(L);
    h->bytes += bytes;
    h->owed += bytes;
#if LUA_VERSION_NUM >= 502
    if (!lua_gc(L, LUA_GCISRUNNING, 0)) {
        return;
    }
#endif
    const size_t lua = (size_t)lua_gc(L, LUA_GCCOUNT, 0) << 10;
    if (h->bytes > h->limit + 2 * lua) {
        h->owed = 0;
        (void)lua_gc(L, LUA_GCCOLLECT, 0);
        h->limit = h->bytes > HELD_MIN / 2 ? 2 * h->bytes : HELD_MIN;
    } else if (h->owed >= STEP_MIN) {
        int kib = (int)(h->owed >> 10 & INT_MAX);
        h->owed = 0;
        (void)lua_gc(L, LUA_GCSTEP, kib);
    }
}

void pra__lua_let_go(lua_State *L, size_t bytes)
{
    held *h = get(L);
    h->bytes -= h->bytes < bytes ? h->bytes : bytes;
}
