/* SPDX-License-Identifier: Apache-2.0 */
/* What one call of a storage function, or loading a script, may use: memory by the allocator,
 * instructions by a hook. */
#include "server/signals.h"
#include "thunk_lua.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    PERIOD = 1000, /* instructions from one look at them to the next */
    PATIENCE = 16  /* refusals of memory that a script may catch */
};

static const char error_key; /* its address is the key in the registry */

void pra__lua_meter_init(lua_State *L, pra__lua_meter *m)
{
    *m = (pra__lua_meter){.ceiling = SIZE_MAX};
    lua_pushliteral(L, "a cap of this call is exceeded");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &error_key);
}

/* ---- memory */

static void count(lua_State *L, lua_Debug *at);

/* From now on every instruction raises the error again, in the thread that waits for the others
 * too, so that no pcall holds it up. */
static void end_call(pra__lua_meter *m, int cap)
{
    m->over = cap;
    (void)lua_sethook(m->caller, count, LUA_MASKCOUNT, 1);
}

/* A call that is to end gets no memory either: what else could run on without end are coroutines
 * that make coroutines, each with a count of its own. */
static int has_room(pra__lua_meter *m, size_t more)
{
    if (!m->over && m->used <= m->ceiling && more <= m->ceiling - m->used) {
        m->refused = 0;
        return 1;
    }
    if (!m->over) {
        /* From 5.2 on Lua collects garbage and asks again before it gives up. */
        m->in_vain |= LUA_VERSION_NUM == 501 || m->refused == more;
        m->refused = more;
        if (m->caller && ++m->refusals > PATIENCE) {
            end_call(m, PRA__LUA_MEMORY);
        }
    }
    return 0;
}

static void *allocate(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    pra__lua_meter *m = ctx;
    size_t held = ptr ? old_size : 0; /* else old_size is a kind of object */
    if (new_size > held && !has_room(m, new_size - held)) {
        return NULL;
    }
    void *out = m->alloc(m->alloc_ctx, ptr, old_size, new_size);
    if (out || new_size == 0) {
        m->used = m->used - held + new_size;
    }
    return out;
}

void pra__lua_meter_attach(lua_State *L)
{
    pra__lua_meter *m = pra__lua_meter_of(L);
    m->used = (size_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB, 0);
    m->alloc = lua_getallocf(L, &m->alloc_ctx);
    lua_setallocf(L, allocate, m);
}

void pra__lua_meter_detach(lua_State *L)
{
    pra__lua_meter *m = pra__lua_meter_of(L);
    if (m && m->alloc) {
        lua_setallocf(L, m->alloc, m->alloc_ctx);
        m->alloc = NULL;
    }
}

/* ---- instructions */

static void exceed(lua_State *L, pra__lua_meter *m, lua_Debug *at, int cap)
{
    if (!m->over) {
        if (lua_getinfo(L, "Sl", at)) {
            (void)snprintf(m->where, sizeof m->where, "%s:%d: ", at->short_src, at->currentline);
        }
        end_call(m, cap);
    }
    (void)lua_sethook(L, count, LUA_MASKCOUNT, 1);
    if (m->alloc) { /* fails; no message handler, in which hooks do not run, sees this error */
        (void)lua_newuserdatauv(L, 1, 0);
    }
    (void)lua_rawgetp(L, LUA_REGISTRYINDEX, &error_key);
    (void)lua_error(L);
}

/* The cap that is exceeded after so many instructions more. */
static int exceeded_by(const pra__lua_meter *m, uint64_t ran)
{
    if (m->over) {
        return m->over;
    }
    if (m->caps.instructions && m->left <= ran) {
        return PRA__LUA_INSTRUCTIONS;
    }
    return m->caps.signals && pra__signal_to_end() ? PRA__LUA_SIGNAL : PRA__LUA_WITHIN;
}

/* Coroutines have inherited the hook, also those that outlive the call that made them. */
static void count(lua_State *L, lua_Debug *at)
{
    pra__lua_meter *m = pra__lua_meter_of(L);
    uint64_t ran = (uint64_t)lua_gethookcount(L);
    if (!m->caller || !(m->caps.instructions || m->caps.signals || m->over)) {
        if (!m->counts) { /* a coroutine that was made while the script was loaded */
            (void)lua_sethook(L, NULL, 0, 0);
        }
        return;
    }
    int cap = exceeded_by(m, ran);
    if (cap) {
        exceed(L, m, at, cap);
    }
    m->left -= m->caps.instructions ? ran : 0;
    if (ran < PERIOD) { /* left so by a call that is over */
        (void)lua_sethook(L, count, LUA_MASKCOUNT, PERIOD);
    }
}

void pra__lua_meter_hook(lua_State *L)
{
    (void)lua_sethook(L, count, LUA_MASKCOUNT, PERIOD);
}

/* ---- calls */

void pra__lua_meter_begin(lua_State *L, const pra__lua_caps *caps, pra__lua_call_meter *out)
{
    pra__lua_meter *m = pra__lua_meter_of(L);
    if (m->caller || !(caps->memory || caps->instructions || caps->signals)) {
        return;
    }
    *out = (pra__lua_call_meter){m, lua_gethook(L), lua_gethookmask(L), lua_gethookcount(L), 0};
    m->caller = L;
    m->caps = *caps;
    m->left = caps->instructions;
    m->refused = m->refusals = 0;
    m->in_vain = 0;
    m->where[0] = '\0';
    if (caps->memory && m->alloc) {
        m->ceiling = caps->memory < SIZE_MAX - m->used ? m->used + (size_t)caps->memory : SIZE_MAX;
    }
    m->counts |= caps->instructions != 0;
    if (caps->instructions || caps->signals) {
        pra__lua_meter_hook(L);
    }
}

void pra__lua_meter_say(const pra__lua_meter *m, int exceeded, const char *where, char *text,
                        size_t room)
{
    if (exceeded == PRA__LUA_SIGNAL) {
        (void)snprintf(text, room, "a signal to stop came %s", where);
        return;
    }
    int instructions = exceeded == PRA__LUA_INSTRUCTIONS;
    (void)snprintf(text, room, "more than %s (%" PRIu64 "%s) %s",
                   instructions ? "max_instructions" : "max_memory",
                   instructions ? m->caps.instructions : m->caps.memory,
                   instructions ? "" : " bytes", where);
}

int pra__lua_meter_end(pra__lua_call_meter *call)
{
    pra__lua_meter *m = call->meter;
    if (!m) {
        return PRA__LUA_WITHIN;
    }
    int exceeded = m->over ? m->over : m->in_vain || m->refused ? PRA__LUA_MEMORY : PRA__LUA_WITHIN;
    if (m->over || lua_gethook(m->caller) == count) { /* or else the script has set its own */
        (void)lua_sethook(m->caller, call->hook, call->mask, call->count);
    }
    call->ended = m->over != 0;
    m->caller = NULL;
    m->over = 0;
    m->ceiling = SIZE_MAX;
    call->meter = NULL;
    return exceeded;
}
