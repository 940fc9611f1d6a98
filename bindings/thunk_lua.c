/* SPDX-License-Identifier: Apache-2.0 */
#include "thunk_lua.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* ---- the universe: one per luaL_newstate */

typedef struct universe {
    lua_State *current; /* where callbacks run; NULL: nowhere, the call came too late */
    lua_State *own;     /* for what is done outside of calls; in the registry */
    pthread_mutex_t lock;
    pra__lua_meter meter;
} universe;

static const char universe_key, own_key; /* their addresses are keys in the registry */

static int universe_close(lua_State *L)
{
    universe *u = lua_touserdata(L, 1);
    (void)pthread_mutex_destroy(&u->lock);
    return 0;
}

/* Pushes nothing; the userdata stays in the registry for the life of the universe. */
static universe *universe_get(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &universe_key);
    universe *u = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return u;
}

static void universe_register(lua_State *L)
{
    if (universe_get(L)) {
        return;
    }
    pthread_mutexattr_t recursive;
    universe *u = lua_newuserdatauv(L, sizeof *u, 0);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, universe_close);
    lua_setfield(L, -2, "__gc");
    u->current = NULL;
    pra__lua_meter_init(L, &u->meter);
    u->own = lua_newthread(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &own_key);
    (void)pthread_mutexattr_init(&recursive);
    /* A storage may call a handler of its own from within a callback. */
    (void)pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&u->lock, &recursive);
    (void)pthread_mutexattr_destroy(&recursive);
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &universe_key);
}

pra__lua_meter *pra__lua_meter_of(lua_State *L)
{
    universe *u = universe_get(L);
    return u ? &u->meter : NULL;
}

int pra__lua_protect(lua_State *L, lua_CFunction function, void *argument)
{
#if LUA_VERSION_NUM == 501 /* where a function pushed takes memory */
    return lua_cpcall(L, function, argument);
#else
    lua_pushcfunction(L, function);
    lua_pushlightuserdata(L, argument);
    return lua_pcall(L, 1, 0, 0);
#endif
}

lua_State *pra__lua_enter(lua_State *L)
{
    universe *u = universe_get(L);
    (void)pthread_mutex_lock(&u->lock);
    lua_State *previous = u->current;
    u->current = L;
    (void)pthread_mutex_unlock(&u->lock);
    return previous;
}

void pra__lua_leave(lua_State *L, lua_State *previous)
{
    universe *u = universe_get(L);
    (void)pthread_mutex_lock(&u->lock);
    u->current = previous;
    (void)pthread_mutex_unlock(&u->lock);
}

/* ---- the storage */

typedef struct storage {
    pra_storage_vtbl vtbl; /* with those entries that the table has */
    universe *universe;
    pra__lua_log log;
    int integers;
    pra__lua_caps caps;
} storage;

/* registry[storage] = {[SELF] = userdata, [TABLE] = functions, [LOG] = function or nil} */
enum { SELF = 1, TABLE = 2, LOG = 3 };

/* One callback on its way through Lua. */
typedef struct call {
    storage *storage;
    const char *entry; /* "write" ... */
    const pra_context *ctx;
    int (*arguments)(lua_State *L, struct call *c); /* pushes them, returns their number */
    lua_CFunction body;                             /* runs the script on them */
    const void *input;
    pra_series_sink *const *sinks;
    pra_write_result *result;
    pra_error *err;
    pra__lua_views views;
    pra__lua_call_meter meter;
    int exceeded; /* PRA__LUA_ cap */
    int code;
} call;

static int refuse(call *c, int code, const char *message)
{
    c->code = pra_error_set_cstr(c->err, code, message);
    return c->code;
}

static int refuse_memory(call *c)
{
    return refuse(c, PRA_ERR_RETRY, "the storage script ran out of memory");
}

static int is_verdict(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index)) {
        return 0;
    }
    (void)luaL_getmetatable(L, PRA__LUA_VERDICT);
    int same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* Message handler: leaves a verdict alone, makes a text with traceback of anything else. */
static int add_traceback(lua_State *L)
{
    if (is_verdict(L, 1)) {
        return 1;
    }
    if (lua_type(L, 1) != LUA_TSTRING && !luaL_callmeta(L, 1, "__tostring")) {
        lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
    }
    const char *message = lua_tostring(L, -1);
    luaL_traceback(L, L, message ? message : "(error object without text)", 1);
    return 1;
}

/* An error that passed through a coroutine has lost its status: the text is all there is. */
static int is_memory_error(lua_State *L, int status)
{
    static const char text[] = "not enough memory", of_buffer[] = ": not enough memory for buffer";
    const char *message = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    return status == LUA_ERRMEM || strncmp(message, text, sizeof text - 1) == 0 ||
           strstr(message, of_buffer) != NULL; /* what 5.3 says with a position before it */
}

/* What the storage decided: fields code, status, after, message of the table on top. */
static void take_verdict(lua_State *L, call *c)
{
    lua_getfield(L, -1, "message");
    lua_getfield(L, -2, "code");
    lua_getfield(L, -3, "status");
    lua_getfield(L, -4, "after");
    pra_str message = {lua_tostring(L, -4), 0};
    message.len = message.ptr ? strlen(message.ptr) : 0;
    c->code = (int)lua_tointeger(L, -3);
    (void)pra_error_set(c->err, c->code, message);
    if (c->err && !lua_isnil(L, -2)) {
        c->err->http_status = (int32_t)lua_tointeger(L, -2);
    }
    if (c->err && !lua_isnil(L, -1)) {
        c->err->retry_after_s = (uint32_t)lua_tointeger(L, -1);
    }
    lua_pop(L, 4);
}

static void stderr_log(void *ctx, const char *entry, const char *text_cstr)
{
    (void)ctx;
    (void)fprintf(stderr, "prom_remote_api: storage.%s failed: %s\n", entry, text_cstr);
}

/* Hands the text on top of the stack to the log. */
static void report(lua_State *L, const call *c)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, c->storage);
    if (lua_rawgeti(L, -1, LOG) == LUA_TFUNCTION) {
        lua_pushvalue(L, -3);
        if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
            lua_pop(L, 1); /* a log that fails has nowhere to say so */
        }
    } else {
        const char *text = lua_tostring(L, -3);
        c->storage->log.fn(c->storage->log.ctx, c->entry, text ? text : "");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Leaves the text for the log in place of what is on top of the stack. */
static void refuse_exceeded(lua_State *L, call *c)
{
    const pra__lua_meter *m = &c->storage->universe->meter;
    const pra__lua_log *log = &c->storage->log;
    char text[128];
    pra__lua_meter_say(m, c->exceeded, "in one call", text, sizeof text);
    (void)refuse(c, PRA_ERR_RETRY, text);
    if (log->capped) {
        log->capped(log->ctx, c->exceeded);
    }
    lua_pop(L, 1);
    (void)lua_pushfstring(L, "%s%s", m->where, text);
}

/* The script raised what is on top of the stack. */
static void failed(lua_State *L, call *c, int status)
{
    if (c->meter.ended || (c->exceeded && !is_verdict(L, -1))) {
        refuse_exceeded(L, c);
        report(L, c);
        return;
    }
    if (is_verdict(L, -1)) {
        take_verdict(L, c);
        return;
    }
    if (is_memory_error(L, status)) {
        (void)refuse_memory(c);
    } else {
        (void)refuse(c, PRA_ERR_USER, "the storage script failed; the receiver's log says why");
    }
    report(L, c);
}

/* Runs in the one protected call of a callback. The views stay on the stack, so that they can be
 * ended whatever the script did. */
static int bridge(lua_State *L)
{
    call *c = lua_touserdata(L, 1);
    lua_pushcfunction(L, add_traceback);
    int count = c->arguments(L, c);
    int first = lua_gettop(L) - count + 1;
    lua_pushcfunction(L, c->body);
    lua_pushlightuserdata(L, c);
    for (int i = 0; i < count; i++) {
        lua_pushvalue(L, first + i);
    }
    int status = lua_pcall(L, 1 + count, 0, 2);
    c->exceeded = pra__lua_meter_end(&c->meter);
    pra__lua_views_end(&c->views);
    if (status != LUA_OK) {
        failed(L, c, status);
    } else if (c->meter.ended) { /* it returned with the error it caught */
        lua_pushnil(L);
        failed(L, c, status);
    }
    return 0;
}

#if LUA_VERSION_NUM == 501
static int collect(lua_State *L)
{
    return lua_gc(L, LUA_GCCOLLECT, 0);
}
#endif

/* Lua 5.1 fails without having looked for garbage. */
static void collect_garbage(lua_State *L)
{
#if LUA_VERSION_NUM == 501
    (void)pra__lua_protect(L, collect, NULL); /* a finalizer may raise */
#else
    (void)L;
#endif
}

/* A C function has LUA_MINSTACK slots; in 5.1 to ask for more can raise an error. */
static int has_stack(lua_State *L)
{
#if LUA_VERSION_NUM == 501
    (void)L;
    return 1;
#else
    return lua_checkstack(L, LUA_MINSTACK);
#endif
}

static void enter(lua_State *L, call *c)
{
    int top = lua_gettop(L);
    pra__lua_meter_begin(L, &c->storage->caps, &c->meter);
    int status = pra__lua_protect(L, bridge, c);
    int exceeded = pra__lua_meter_end(&c->meter) | c->exceeded;
    if (status == LUA_ERRMEM) {
        (void)refuse_memory(c);
    } else if (status != LUA_OK) {
        (void)refuse(c, exceeded ? PRA_ERR_RETRY : PRA_ERR_USER,
                     "the storage script left no room to be called");
    }
    if (c->code == PRA_ERR_RETRY && exceeded == PRA__LUA_MEMORY) {
        collect_garbage(L);
    }
    lua_settop(L, top);
}

static int run(call *c)
{
    universe *u = c->storage->universe;
    c->views.integers = c->storage->integers;
    (void)pthread_mutex_lock(&u->lock);
    lua_State *L = u->current;
    if (!L) {
        (void)refuse(c, PRA_ERR_RETRY, "the receiver is stopping");
    } else if (!has_stack(L)) {
        (void)refuse_memory(c);
    } else {
        enter(L, c);
    }
    (void)pthread_mutex_unlock(&u->lock);
    return c->code;
}

/* Pushes the script's function for the entry. */
static void push_function(lua_State *L, const call *c)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, c->storage);
    lua_rawgeti(L, -1, TABLE);
    lua_getfield(L, -1, c->entry);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

/* Calls the function below count arguments for one result. `return nil, why` and `return false`
 * are failures like any raised error: what a script did not store must not be acknowledged, and a
 * part of an answer must not look like all of it. */
static void call_script(lua_State *L, int count)
{
    lua_call(L, count, 2);
    if (is_verdict(L, -2)) { /* returned, where it should have been raised */
        lua_pop(L, 1);
        (void)lua_error(L);
    }
    if (!lua_toboolean(L, -2) && (lua_isboolean(L, -2) || !lua_isnil(L, -1))) {
        if (lua_isnil(L, -1)) {
            lua_pushliteral(L, "the function returned false");
        }
        (void)lua_error(L);
    }
    lua_pop(L, 1);
}

/* ---- write */

static int write_arguments(lua_State *L, call *c)
{
    pra__lua_view_push(L, PRA__LUA_CONTEXT, c->ctx, &c->views);
    pra__lua_request_push(L, c->input, c->result, &c->views);
    return 2;
}

static int write_body(lua_State *L)
{
    push_function(L, lua_touserdata(L, 1));
    lua_insert(L, 2);
    call_script(L, 2);
    return 0;
}

static int on_write(void *self, const pra_context *ctx, const pra_write_request *request,
                    pra_write_result *result, pra_error *err)
{
    call c = {.storage = self,
              .entry = "write",
              .ctx = ctx,
              .arguments = write_arguments,
              .body = write_body,
              .input = request,
              .result = result,
              .err = err};
    return run(&c);
}

/* ---- process_query */

/* Adds what a storage function returned, on top of the stack: nothing, a list of series, or a
 * function that returns one after the other. */
static void drain(lua_State *L, pra_series_sink *sink)
{
    if (lua_isfunction(L, -1)) {
        for (;;) {
            lua_pushvalue(L, -1);
            call_script(L, 0);
            if (lua_isnil(L, -1)) {
                break;
            }
            pra__lua_sink_add(L, sink);
        }
        lua_pop(L, 1);
    } else if (lua_istable(L, -1)) {
        for (lua_Integer i = 1; lua_geti(L, -1, i) != LUA_TNIL; i++) {
            pra__lua_sink_add(L, sink);
        }
        lua_pop(L, 1);
    } else if (!lua_isnil(L, -1) && !lua_isboolean(L, -1)) {
        (void)luaL_error(L, "the function returned a %s, not a list of series or an iterator",
                         luaL_typename(L, -1));
    }
}

static int query_arguments(lua_State *L, call *c)
{
    pra__lua_view_push(L, PRA__LUA_CONTEXT, c->ctx, &c->views);
    pra__lua_view_push(L, PRA__LUA_QUERY, c->input, &c->views);
    pra__lua_view_push(L, PRA__LUA_SINK, c->sinks[0], &c->views);
    return 3;
}

static int query_body(lua_State *L)
{
    call *c = lua_touserdata(L, 1);
    push_function(L, c);
    lua_insert(L, 2);
    call_script(L, 3);
    drain(L, c->sinks[0]);
    return 0;
}

static int on_process_query(void *self, const pra_context *ctx, const pra_query *query,
                            pra_series_sink *sink, pra_error *err)
{
    call c = {.storage = self,
              .entry = "process_query",
              .ctx = ctx,
              .arguments = query_arguments,
              .body = query_body,
              .input = query,
              .sinks = &sink,
              .err = err};
    return run(&c);
}

/* ---- read */

/* Pushes a table of views that nobody else sees, then ctx, queries, sinks: a script may take
 * elements out of the lists that it is given. */
static int read_arguments(lua_State *L, call *c)
{
    size_t count = pra_read_request_query_count(c->input);
    lua_createtable(L, (int)(2 * count), 0);
    pra__lua_view_push(L, PRA__LUA_CONTEXT, c->ctx, &c->views);
    lua_createtable(L, (int)count, 0);
    lua_createtable(L, (int)count, 0);
    int sinks = lua_gettop(L), hidden = sinks - 3;
    for (size_t i = 0; i < count; i++) {
        lua_Integer number = (lua_Integer)i + 1;
        pra__lua_view_push(L, PRA__LUA_QUERY, pra_read_request_query(c->input, i), &c->views);
        lua_pushvalue(L, -1);
        lua_rawseti(L, hidden, 2 * number - 1);
        lua_rawseti(L, sinks - 1, number);
        pra__lua_view_push(L, PRA__LUA_SINK, c->sinks[i], &c->views);
        lua_pushvalue(L, -1);
        lua_rawseti(L, hidden, 2 * number);
        lua_rawseti(L, sinks, number);
    }
    return 3;
}

static int read_body(lua_State *L)
{
    call *c = lua_touserdata(L, 1);
    push_function(L, c);
    lua_insert(L, 2);
    call_script(L, 3);
    size_t count = lua_istable(L, -1) ? pra_read_request_query_count(c->input) : 0;
    for (size_t i = 0; i < count; i++) {
        lua_geti(L, -1, (lua_Integer)i + 1);
        drain(L, c->sinks[i]);
        lua_pop(L, 1);
    }
    return 0;
}

static int on_read(void *self, const pra_context *ctx, const pra_read_request *request,
                   pra_series_sink *const *sinks, pra_error *err)
{
    call c = {.storage = self,
              .entry = "read",
              .ctx = ctx,
              .arguments = read_arguments,
              .body = read_body,
              .input = request,
              .sinks = sinks,
              .err = err};
    return run(&c);
}

/* ---- close */

static int no_arguments(lua_State *L, call *c)
{
    (void)L, (void)c;
    return 0;
}

static int close_body(lua_State *L)
{
    push_function(L, lua_touserdata(L, 1));
    if (!lua_isnil(L, -1)) {
        call_script(L, 0);
    }
    return 0;
}

void pra__lua_storage_close(const pra_storage *storage)
{
    call c = {
        .storage = storage->self, .entry = "close", .arguments = no_arguments, .body = close_body};
    (void)run(&c);
}

/* ---- life of a storage */

/* Runs while its universe is between two operations: on the thread that frees the handler. */
static void on_destroy(void *self)
{
    storage *s = self;
    lua_State *L = s->universe->own;
    if (lua_checkstack(L, 2)) { /* else the memory goes when the state is closed */
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, s);
    }
}

static int has_entry(lua_State *L, int table, const char *name)
{
    int type = lua_getfield(L, table, name);
    if (type != LUA_TNIL && type != LUA_TFUNCTION) {
        (void)luaL_error(L, "storage.%s is a %s, not a function", name, luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    return type == LUA_TFUNCTION;
}

static uint32_t flag_of(lua_State *L, int table, const char *name, uint32_t flag)
{
    lua_getfield(L, table, name);
    int keeps = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return keeps ? flag : 0;
}

static void fill_vtbl(lua_State *L, int table, pra_storage_vtbl *vtbl)
{
    *vtbl = (pra_storage_vtbl){.size = sizeof *vtbl, .destroy = on_destroy};
    vtbl->flags = flag_of(L, table, "histograms", PRA_STORAGE_HISTOGRAMS) |
                  flag_of(L, table, "exemplars", PRA_STORAGE_EXEMPLARS);
    vtbl->write = has_entry(L, table, "write") ? on_write : NULL;
    vtbl->process_query = has_entry(L, table, "process_query") ? on_process_query : NULL;
    vtbl->read = has_entry(L, table, "read") ? on_read : NULL;
    (void)has_entry(L, table, "close");
    if (!vtbl->write && !vtbl->process_query && !vtbl->read) {
        (void)luaL_error(L, "the storage has none of the functions write, process_query, read");
    }
}

uint64_t pra__lua_cap(lua_State *L, int index, const char *name)
{
    uint64_t cap = 0;
    if (lua_getfield(L, index, name) != LUA_TNIL && !pra__lua_to_uint64(L, -1, &cap)) {
        (void)luaL_error(L, "%s is a number from 0 on, not a %s", name, luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    return cap;
}

static void fill_caps(lua_State *L, int index, const universe *u, pra__lua_caps *caps)
{
    *caps = (pra__lua_caps){pra__lua_cap(L, index, "max_memory"),
                            pra__lua_cap(L, index, "max_instructions"), 0};
    if (caps->memory && !u->meter.alloc) {
        (void)luaL_error(L, "max_memory is for Lua states of a server: serve { script = FILE }");
    }
}

void pra__lua_storage_new(lua_State *L, int index, const pra__lua_log *log, pra_storage *out)
{
    index = lua_absindex(L, index);
    int top = lua_gettop(L);
    if (lua_getfield(L, index, "storage") != LUA_TTABLE) {
        (void)luaL_error(L, "storage must be a table of functions, not a %s", luaL_typename(L, -1));
    }
    lua_createtable(L, 3, 0);
    storage *s = lua_newuserdatauv(L, sizeof *s, 0);
    fill_vtbl(L, top + 1, &s->vtbl);
    s->universe = universe_get(L);
    s->log = log ? *log : (pra__lua_log){NULL, stderr_log, NULL};
    fill_caps(L, index, s->universe, &s->caps);
    (void)lua_getfield(L, index, "integers");
    s->integers = pra__lua_integers(L, -1);
    lua_pop(L, 1);
    lua_rawseti(L, top + 2, SELF);
    lua_pushvalue(L, top + 1);
    lua_rawseti(L, top + 2, TABLE);
    if (lua_getfield(L, index, "log") != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TFUNCTION);
    }
    lua_rawseti(L, top + 2, LOG);
    lua_settop(L, top + 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, s);
    lua_settop(L, top);
    *out = (pra_storage){&s->vtbl, s};
}

/* ---- the module */

static int is_stale(lua_State *L)
{
    lua_Number value = luaL_checknumber(L, 1);
    lua_pushboolean(L, pra_is_stale(&value));
    return 1;
}

void pra__lua_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"is_stale", is_stale}, {"key", pra__lua_key}, {NULL, NULL}};
    universe_register(L);
    lua_pushliteral(L, "swig");
    lua_setfield(L, -2, "face");
    pra__lua_serve_register(L);
    pra__lua_held_register(L);
    pra__lua_views_register(L);
    pra__lua_requests_register(L);
    pra__lua_build_register(L);
    pra__lua_series_register(L);
    pra__lua_columns_register(L);
    pra__lua_client_register(L);
    luaL_setfuncs(L, functions, 0);
    pra__lua_histogram_register(L);
    pra__lua_push_stale_nan(L);
    lua_setfield(L, -2, "stale_nan");
    (void)luaL_newmetatable(L, PRA__LUA_VERDICT);
    lua_setfield(L, -2, "verdict");
}
