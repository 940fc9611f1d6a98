/* SPDX-License-Identifier: Apache-2.0 */
#include "lua_host.h"

#include <inttypes.h>
#include <lualib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "server/log.h"
#include "thunk_lua.h"

/* One state runs one request at a time; a worker always comes to the same one. */
typedef struct state {
    lua_State *L;
    pra_storage storage;
    struct generation *generation;
    size_t users; /* calls that are in it or wait for it, and 1 until it is retired */
} state;

/* The states of one run of the script. */
typedef struct generation {
    size_t room, count;
    size_t open; /* states that are not closed, and 1 until it is retired */
    state states[];
} generation;

struct pra__lua_host {
    pra_storage_vtbl vtbl;
    pra__lua_host_opts opts;
    pthread_mutex_t lock; /* of now, and of users and open of all generations */
    generation *now;
    atomic_uint owners; /* the storage, and who made the host */
    atomic_uint_fast64_t reloads, failed_reloads, capped[2];
    size_t text_size;
    char text[]; /* what opts points to */
};

static void *take(size_t size)
{
    const pra_alloc *alloc = pra_alloc_libc();
    return alloc->fn(alloc->ctx, NULL, 0, size);
}

static void give(void *ptr, size_t size)
{
    const pra_alloc *alloc = pra_alloc_libc();
    (void)alloc->fn(alloc->ctx, ptr, size, 0);
}

/* ---- life of states */

static size_t generation_size(size_t room)
{
    return sizeof(generation) + room * sizeof(state);
}

static size_t drop(pra__lua_host *host, size_t *count)
{
    (void)pthread_mutex_lock(&host->lock);
    size_t left = --*count;
    (void)pthread_mutex_unlock(&host->lock);
    return left;
}

static void generation_drop(pra__lua_host *host, generation *g)
{
    if (drop(host, &g->open) == 0) {
        give(g, generation_size(g->room));
    }
}

/* Who leaves a retired state last closes it. */
static void state_leave(pra__lua_host *host, state *s)
{
    if (drop(host, &s->users) == 0) {
        pra__lua_storage_close(&s->storage);
        s->storage.vtbl->destroy(s->storage.self);
        pra__lua_meter_detach(s->L);
        lua_close(s->L);
        generation_drop(host, s->generation);
    }
}

static state *state_enter(pra__lua_host *host, const pra_context *ctx)
{
    (void)pthread_mutex_lock(&host->lock);
    generation *g = host->now;
    state *s = g ? &g->states[pra_context_worker(ctx) % g->count] : NULL;
    if (s) {
        s->users++;
    }
    (void)pthread_mutex_unlock(&host->lock);
    return s;
}

static int refuse(pra_error *err)
{
    return pra_error_set_cstr(err, PRA_ERR_RETRY, "the receiver is stopping");
}

/* No call comes to it any more. */
static void generation_retire(pra__lua_host *host, generation *g)
{
    for (size_t i = 0; i < g->count; i++) {
        state_leave(host, &g->states[i]);
    }
    generation_drop(host, g);
}

/* ---- the storage */

static int on_write(void *self, const pra_context *ctx, const pra_write_request *request,
                    pra_write_result *result, pra_error *err)
{
    state *s = state_enter(self, ctx);
    if (!s) {
        return refuse(err);
    }
    int code = s->storage.vtbl->write(s->storage.self, ctx, request, result, err);
    state_leave(self, s);
    return code;
}

static int on_process_query(void *self, const pra_context *ctx, const pra_query *query,
                            pra_series_sink *sink, pra_error *err)
{
    state *s = state_enter(self, ctx);
    if (!s) {
        return refuse(err);
    }
    int code = s->storage.vtbl->process_query(s->storage.self, ctx, query, sink, err);
    state_leave(self, s);
    return code;
}

static int on_read(void *self, const pra_context *ctx, const pra_read_request *request,
                   pra_series_sink *const *sinks, pra_error *err)
{
    state *s = state_enter(self, ctx);
    if (!s) {
        return refuse(err);
    }
    int code = s->storage.vtbl->read(s->storage.self, ctx, request, sinks, err);
    state_leave(self, s);
    return code;
}

static int on_metrics(void *self, pra_buffer *out)
{
    pra__lua_host *host = self;
    char text[768];
    (void)pthread_mutex_lock(&host->lock);
    size_t states = host->now ? host->now->count : 0;
    (void)pthread_mutex_unlock(&host->lock);
    int len = snprintf(
        text, sizeof text,
        "# HELP pra_lua_states Lua states that serve.\n"
        "# TYPE pra_lua_states gauge\n"
        "pra_lua_states %zu\n"
        "# HELP pra_lua_reloads_total Times the script was run again, by what came of it.\n"
        "# TYPE pra_lua_reloads_total counter\n"
        "pra_lua_reloads_total{result=\"done\"} %" PRIuFAST64 "\n"
        "pra_lua_reloads_total{result=\"failed\"} %" PRIuFAST64 "\n"
        "# HELP pra_lua_capped_calls_total Calls of the script that were ended by a cap.\n"
        "# TYPE pra_lua_capped_calls_total counter\n"
        "pra_lua_capped_calls_total{cap=\"memory\"} %" PRIuFAST64 "\n"
        "pra_lua_capped_calls_total{cap=\"instructions\"} %" PRIuFAST64 "\n",
        states, atomic_load(&host->reloads), atomic_load(&host->failed_reloads),
        atomic_load(&host->capped[0]), atomic_load(&host->capped[1]));
    return pra_buffer_append(out, text, (size_t)len);
}

void pra__lua_host_free(pra__lua_host *host)
{
    if (host && atomic_fetch_sub(&host->owners, 1) == 1) {
        (void)pthread_mutex_destroy(&host->lock);
        give(host, sizeof *host + host->text_size);
    }
}

/* Puts g, or nothing, in the place of the states that serve. */
static void put(pra__lua_host *host, generation *g)
{
    (void)pthread_mutex_lock(&host->lock);
    generation *before = host->now;
    host->now = g;
    (void)pthread_mutex_unlock(&host->lock);
    if (before) {
        generation_retire(host, before);
    }
}

void pra__lua_host_close(pra__lua_host *host)
{
    put(host, NULL);
}

static void on_destroy(void *self)
{
    pra__lua_host_close(self);
    pra__lua_host_free(self);
}

/* ---- what goes to the log */

static void log_failure(void *ctx, const char *entry, const char *text_cstr)
{
    const pra__lua_host *host = ctx;
    char error[896] = "";
    (void)pra__log_value(error, sizeof error, 0, text_cstr, strlen(text_cstr));
    pra__log_write(&host->opts.log, PRA_LOG_ERROR, "storage script failed", "function=%s error=%s",
                   entry, error);
}

static void count_capped(void *ctx, int cap)
{
    pra__lua_host *host = ctx;
    atomic_fetch_add(&host->capped[cap == PRA__LUA_INSTRUCTIONS], 1);
}

/* ---- running the script */

int luaopen_prom_remote_api_core(lua_State *L);

static int open_core(lua_State *L)
{
    (void)luaopen_prom_remote_api_core(L);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "hosted");
    return 1;
}

/* One state on its way. */
typedef struct load {
    pra__lua_host *host;
    pra_storage storage;
    int64_t threads; /* that the storage asks for; 0 = any number */
    int status;      /* of what the script raised */
    pra__lua_call_meter meter;
} load;

static void set_text(lua_State *L, const char *name, const char *text_cstr)
{
    if (text_cstr) {
        (void)lua_pushstring(L, text_cstr);
        lua_setfield(L, -2, name);
    }
}

/* LuaJIT's compiled loops neither count nor can be ended. */
static void switch_compiler_off(lua_State *L)
{
    lua_getglobal(L, "jit");
    if (lua_istable(L, -1)) {
        (void)lua_getfield(L, -1, "off");
        lua_call(L, 0, 0);
    }
    lua_pop(L, 1);
}

static void prepare(lua_State *L, const pra__lua_host_opts *opts)
{
    int top = lua_gettop(L);
    luaL_openlibs(L);
    luaL_requiref(L, "prom_remote_api.core", open_core, 0);
    lua_getglobal(L, "package");
    set_text(L, "path", opts->package_path_cstr);
    set_text(L, "cpath", opts->package_cpath_cstr);
    (void)lua_getfield(L, -1, "loaded");
    set_text(L, "prom_remote_api.face", "swig");
    if (opts->preload) {
        opts->preload(L);
    }
    if (opts->max_instructions) {
        switch_compiler_off(L);
        pra__lua_meter_hook(L); /* all coroutines inherit it */
    }
    if (opts->max_memory || opts->max_instructions) {
        pra__lua_meter_attach(L);
    }
    lua_settop(L, top);
}

static void check_threads(lua_State *L, load *l)
{
    if (lua_getfield(L, -1, "threads") != LUA_TNIL &&
        (!pra__lua_to_int64(L, -1, &l->threads) || l->threads < 1)) {
        (void)luaL_error(L, "%s: threads of a storage is an integer from 1 on",
                         l->host->opts.path_cstr);
    }
    lua_pop(L, 1);
}

/* The options of pra.serve that pra__lua_storage_new looks at; the storage is on the stack. */
static void push_options(lua_State *L, const pra__lua_host_opts *opts)
{
    lua_createtable(L, 0, 3);
    lua_insert(L, -2);
    lua_setfield(L, -2, "storage");
    pra__lua_push_uint64(L, opts->max_memory);
    lua_setfield(L, -2, "max_memory");
    pra__lua_push_uint64(L, opts->max_instructions);
    lua_setfield(L, -2, "max_instructions");
}

/* Message handler: errors may be objects, those of the strict module are. */
static int to_text(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING) {
        (void)luaL_tolstring(L, 1, NULL);
    }
    return 1;
}

static int run_script(lua_State *L)
{
    load *l = lua_touserdata(L, 1);
    const pra__lua_host_opts *opts = &l->host->opts;
    const pra__lua_log log = {l->host, log_failure, count_capped};
    const pra__lua_caps caps = {opts->max_memory, opts->max_instructions, 1};
    prepare(L, opts);
    pra__lua_meter_begin(L, &caps, &l->meter);
    lua_pushcfunction(L, to_text);
    l->status = luaL_loadfilex(L, opts->path_cstr, "t"); /* bytecode is not checked by Lua */
    if (l->status == LUA_OK) {
        l->status = lua_pcall(L, 0, 1, -2);
    }
    if (l->status != LUA_OK) {
        return lua_error(L);
    }
    if (!lua_istable(L, -1)) {
        return luaL_error(L,
                          "%s returns a %s, not its storage: a table of functions "
                          "(its last line is: return pra.serve { storage = ... })",
                          opts->path_cstr, luaL_typename(L, -1));
    }
    check_threads(L, l);
    push_options(L, opts);
    pra__lua_storage_new(L, -1, &log, &l->storage);
    (void)pra__lua_enter(L); /* for good: this is the main thread of a state that is ours */
    return 0;
}

static int fail_exceeded(lua_State *L, int exceeded, pra_error *err)
{
    const pra__lua_meter *m = pra__lua_meter_of(L);
    char text[64 + sizeof m->where], what[64];
    pra__lua_meter_say(m, exceeded, "while it was loaded", what, sizeof what);
    (void)snprintf(text, sizeof text, "%s%s", m->where, what);
    return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, text);
}

static int fail(lua_State *L, int status, pra_error *err)
{
    const char *message = lua_tostring(L, -1);
    int code = status == LUA_ERRMEM ? PRA_ERR_NOMEM : PRA_ERR_INVALID_ARG;
    return pra_error_set_cstr(err, code, message ? message : "the storage script failed");
}

static int open_state(state *s, load *l, pra_error *err)
{
    lua_State *L = luaL_newstate();
    if (!L) {
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, pra_strerror(PRA_ERR_NOMEM));
    }
    int status = pra__lua_protect(L, run_script, l);
    int exceeded = pra__lua_meter_end(&l->meter);
    if (status != LUA_OK || l->meter.ended) {
        int code = exceeded ? fail_exceeded(L, exceeded, err)
                            : fail(L, l->status ? l->status : status, err);
        pra__lua_meter_detach(L);
        lua_close(L);
        return code;
    }
    *s = (state){.L = L, .storage = l->storage, .users = 1};
    return PRA_OK;
}

/* ---- generations */

static int same_entries(const pra_storage_vtbl *a, const pra_storage_vtbl *b)
{
    return !a->write == !b->write && !a->read == !b->read &&
           !a->process_query == !b->process_query && a->flags == b->flags;
}

/* The entries are those of the first state, which all others must have, of later runs too. */
static int adopt(pra__lua_host *host, const pra_storage_vtbl *vtbl, pra_error *err)
{
    if (!host->vtbl.destroy) {
        host->vtbl =
            (pra_storage_vtbl){.size = sizeof host->vtbl,
                               .flags = vtbl->flags,
                               .write = vtbl->write ? on_write : NULL,
                               .process_query = vtbl->process_query ? on_process_query : NULL,
                               .read = vtbl->read ? on_read : NULL,
                               .metrics = on_metrics,
                               .destroy = on_destroy};
    }
    if (!same_entries(&host->vtbl, vtbl)) {
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG,
                                  "the storage has other functions or flags (write, process_query, "
                                  "read, histograms, exemplars) than when the script was "
                                  "run first: for that the server must be started again");
    }
    return PRA_OK;
}

static int add_state(pra__lua_host *host, generation *g, size_t *wanted, pra_error *err)
{
    load l = {.host = host};
    state *s = &g->states[g->count];
    int code = open_state(s, &l, err);
    if (code != PRA_OK) {
        return code;
    }
    s->generation = g;
    g->count++;
    g->open++;
    if (l.threads > 0 && (uint64_t)l.threads < *wanted) {
        *wanted = (size_t)l.threads;
    }
    return adopt(host, s->storage.vtbl, err);
}

static int generation_new(pra__lua_host *host, generation **out, pra_error *err)
{
    size_t wanted = host->opts.workers ? host->opts.workers : 1;
    generation *g = take(generation_size(wanted));
    if (!g) {
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, pra_strerror(PRA_ERR_NOMEM));
    }
    g->room = wanted;
    g->count = 0;
    g->open = 1;
    int code = PRA_OK;
    while (g->count < wanted && code == PRA_OK) {
        code = add_state(host, g, &wanted, err);
    }
    if (code != PRA_OK) {
        generation_retire(host, g);
        return code;
    }
    *out = g;
    return PRA_OK;
}

int pra__lua_host_reload(pra__lua_host *host)
{
    pra_error err = {0};
    char script[512] = "", text[512] = "";
    generation *g;
    const char *path = host->opts.path_cstr;
    (void)pra__log_value(script, sizeof script, 0, path, strlen(path));
    int code = generation_new(host, &g, &err);
    if (code != PRA_OK) {
        atomic_fetch_add(&host->failed_reloads, 1);
        (void)pra__log_value(text, sizeof text, 0, err.message, strlen(err.message));
        pra__log_write(&host->opts.log, PRA_LOG_ERROR,
                       "storage script not reloaded, the one before goes on", "script=%s error=%s",
                       script, text);
        return code;
    }
    atomic_fetch_add(&host->reloads, 1);
    pra__log_write(&host->opts.log, PRA_LOG_INFO, "storage script reloaded", "script=%s states=%zu",
                   script, g->count);
    put(host, g);
    return PRA_OK;
}

/* ---- hosts */

static const char *copy_text(char **at, const char *text_cstr)
{
    char *copy = *at;
    if (!text_cstr) {
        return NULL;
    }
    *at += strlen(text_cstr) + 1;
    return strcpy(copy, text_cstr);
}

static size_t text_length(const char *text_cstr)
{
    return text_cstr ? strlen(text_cstr) + 1 : 0;
}

static pra__lua_host *host_alloc(const pra__lua_host_opts *opts)
{
    size_t text = text_length(opts->path_cstr) + text_length(opts->package_path_cstr) +
                  text_length(opts->package_cpath_cstr);
    pra__lua_host *host = take(sizeof *host + text);
    if (!host) {
        return NULL;
    }
    *host = (pra__lua_host){.opts = *opts, .owners = 1, .text_size = text};
    char *at = host->text;
    host->opts.path_cstr = copy_text(&at, opts->path_cstr);
    host->opts.package_path_cstr = copy_text(&at, opts->package_path_cstr);
    host->opts.package_cpath_cstr = copy_text(&at, opts->package_cpath_cstr);
    (void)pthread_mutex_init(&host->lock, NULL);
    return host;
}

int pra__lua_host_new(const pra__lua_host_opts *opts, pra_storage *storage, pra__lua_host **out,
                      pra_error *err)
{
    pra__lua_host *host = host_alloc(opts);
    if (!host) {
        return pra_error_set_cstr(err, PRA_ERR_NOMEM, pra_strerror(PRA_ERR_NOMEM));
    }
    int code = generation_new(host, &host->now, err);
    if (code != PRA_OK) {
        pra__lua_host_free(host);
        return code;
    }
    atomic_store(&host->owners, 2);
    *storage = (pra_storage){&host->vtbl, host};
    *out = host;
    return PRA_OK;
}
