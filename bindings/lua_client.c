/* SPDX-License-Identifier: Apache-2.0 */
/* The side that asks: read requests out, their answers in. */
#include "thunk_lua.h"

#include <string.h>

/* ---- encode_queries(queries, types) */

/* Where a query is put; codes are collected, not raised. */
typedef struct target {
    pra_read_request *request;
    int code;
} target;

static int wrong(lua_State *L, const char *name)
{
    return luaL_error(L, "field %s of a query is not what it should be", name);
}

static int64_t integer_field(lua_State *L, int index, const char *name, int needed)
{
    int64_t value = 0;
    const int type = lua_getfield(L, index, name);
    if ((type == LUA_TNIL && needed) || (type != LUA_TNIL && !pra__lua_to_int64(L, -1, &value))) {
        (void)wrong(L, name);
    }
    lua_pop(L, 1);
    return value;
}

/* Leaves the string on the stack. */
static pra_str text_field(lua_State *L, int index, const char *name, int needed)
{
    pra_str text = {"", 0};
    const int type = lua_getfield(L, index, name);
    if (type == LUA_TSTRING) {
        text.ptr = lua_tolstring(L, -1, &text.len);
    } else if (needed || type != LUA_TNIL) {
        (void)wrong(L, name);
    }
    return text;
}

static void add_matcher(lua_State *L, int matcher, target *t)
{
    static const char *const types[] = {"=", "!=", "=~", "!~", NULL};
    int type = 0;
    if (!lua_istable(L, matcher)) {
        (void)wrong(L, "matchers");
    }
    const pra_str text = text_field(L, matcher, "type", 1);
    const pra_str name = text_field(L, matcher, "name", 1);
    const pra_str value = text_field(L, matcher, "value", 1);
    while (types[type] && strcmp(types[type], text.ptr) != 0) {
        type++;
    }
    if (!types[type]) {
        (void)wrong(L, "type");
    }
    if (t->code == PRA_OK) {
        t->code = pra_read_request_add_matcher(t->request, type, name, value);
    }
    lua_settop(L, matcher);
}

static void add_matchers(lua_State *L, int query, target *t)
{
    if (lua_getfield(L, query, "matchers") == LUA_TTABLE) {
        const int list = lua_gettop(L);
        for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
            add_matcher(L, list + 1, t);
            lua_settop(L, list);
        }
        lua_pop(L, 1);
    } else if (!lua_isnil(L, -1)) {
        (void)wrong(L, "matchers");
    }
    lua_pop(L, 1);
}

/* The names stay in their list. */
static void get_grouping(lua_State *L, int list, pra_read_hints *hints)
{
    hints->grouping_count = lua_rawlen(L, list);
    pra_str *names = lua_newuserdatauv(L, hints->grouping_count * sizeof *names + 1, 0);
    for (size_t i = 0; i < hints->grouping_count; i++) {
        if (lua_rawgeti(L, list, (lua_Integer)i + 1) != LUA_TSTRING) {
            (void)wrong(L, "grouping");
        }
        names[i].ptr = lua_tolstring(L, -1, &names[i].len);
        lua_pop(L, 1);
    }
    hints->grouping = names;
}

static void add_hints(lua_State *L, int query, target *t)
{
    const int type = lua_getfield(L, query, "hints");
    const int table = lua_gettop(L);
    if (type == LUA_TTABLE) {
        pra_read_hints hints = {.size = sizeof hints, .present = 1};
        hints.func = text_field(L, table, "func", 0);
        hints.start_ms = integer_field(L, table, "start_ms", 0);
        hints.end_ms = integer_field(L, table, "end_ms", 0);
        hints.step_ms = integer_field(L, table, "step_ms", 0);
        hints.range_ms = integer_field(L, table, "range_ms", 0);
        (void)lua_getfield(L, table, "by");
        hints.by = lua_toboolean(L, -1);
        if (lua_getfield(L, table, "grouping") == LUA_TTABLE) {
            get_grouping(L, lua_gettop(L), &hints);
        } else if (!lua_isnil(L, -1)) {
            (void)wrong(L, "grouping");
        }
        if (t->code == PRA_OK) {
            t->code = pra_read_request_set_hints(t->request, &hints);
        }
    } else if (type != LUA_TNIL) {
        (void)wrong(L, "hints");
    }
    lua_settop(L, table - 1);
}

/* A table, or what a storage was handed. */
static void add_query(lua_State *L, int query, target *t)
{
    if (!lua_istable(L, query)) {
        (void)pra__lua_view_check(L, query, PRA__LUA_QUERY);
    }
    const int64_t start_ms = integer_field(L, query, "start_ms", 1);
    const int64_t end_ms = integer_field(L, query, "end_ms", 1);
    if (t->code == PRA_OK) {
        t->code = pra_read_request_add_query(t->request, start_ms, end_ms);
    }
    add_matchers(L, query, t);
    add_hints(L, query, t);
}

static void add_types(lua_State *L, int list, target *t)
{
    for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
        const int32_t type = (int32_t)lua_tointeger(L, -1);
        if (t->code == PRA_OK) {
            t->code = pra_read_request_add_accepted(t->request, type);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static int encode_queries(lua_State *L)
{
    pra_error err = {0};
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    pra__lua_holder *h = pra__lua_holder_push(L);
    target t = {NULL, pra_read_request_new(NULL, &h->queries)};
    t.request = h->queries;
    if (t.code == PRA_OK) {
        t.code = pra_buffer_new(NULL, &h->message);
    }
    if (t.code == PRA_OK) {
        t.code = pra_buffer_new(NULL, &h->block);
    }
    for (lua_Integer i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++) {
        add_query(L, lua_gettop(L), &t);
        lua_settop(L, 3);
    }
    lua_settop(L, 3);
    add_types(L, 2, &t);
    if (t.code == PRA_OK) {
        t.code = pra_read_request_encode(h->queries, h->message, &err);
    }
    return pra__lua_encoded(L, h, t.code, 1, &err);
}

/* ---- decode_answer(body, streamed, limits, integers) */

/* Pushes a list per query, of lists of plain series. */
static void push_results(lua_State *L, const pra_read_response *response, int integers)
{
    const uint32_t *offsets;
    pra_columns columns = {.size = sizeof columns};
    size_t count = pra_read_response_results(response, &offsets);
    (void)pra_read_response_columns(response, &columns);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_createtable(L, (int)(offsets[i + 1] - offsets[i]), 0);
        for (uint32_t k = offsets[i]; k < offsets[i + 1]; k++) {
            pra__lua_series_push_table(L, &columns, k, integers);
            lua_rawseti(L, -2, (lua_Integer)(k - offsets[i]) + 1);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static int decode_sampled(lua_State *L, pra_str body, const pra_limits *limits, int integers)
{
    pra_error err = {0};
    pra__lua_holder *h = pra__lua_holder_push(L);
    const int holder = lua_gettop(L);
    int code = pra_read_response_new(NULL, &h->response);
    if (code == PRA_OK) {
        code = pra_read_response_decode_snappy(h->response, body.ptr, body.len, limits, &err);
    }
    if (code == PRA_OK) {
        push_results(L, h->response, integers);
    }
    pra__lua_holder_release(L, holder);
    return code == PRA_OK ? 1 : pra__lua_fail(L, code, &err);
}

/* What a streamed answer has given so far, on the stack. */
enum { RESULTS = 6, KEYS };

/* Pushes the list of a query's series. Queries before it without frames have empty ones. */
static void push_result(lua_State *L, lua_Integer number)
{
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, RESULTS) + 1; i <= number; i++) {
        lua_newtable(L);
        lua_rawseti(L, RESULTS, i);
    }
    (void)lua_rawgeti(L, RESULTS, number);
}

/* Appends the list of that name of the series table at from to that of the one at to. */
static void append_list(lua_State *L, int to, int from, const char *name)
{
    if (lua_getfield(L, from, name) != LUA_TTABLE) {
        lua_pop(L, 1);
        return;
    }
    if (lua_getfield(L, to, name) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_setfield(L, to, name);
        return;
    }
    lua_Integer at = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; lua_rawgeti(L, -2, i) != LUA_TNIL; i++) {
        lua_rawseti(L, -2, ++at);
    }
    lua_pop(L, 3);
}

/* Adds the series table on top of the stack, to the one before if it goes on. */
static void add_series(lua_State *L, lua_Integer number)
{
    static const char *const lists[] = {"timestamps", "values", "start_timestamps", "histograms"};
    const int series = lua_gettop(L);
    push_result(L, number);
    lua_pushcfunction(L, pra__lua_key);
    (void)lua_getfield(L, series, "labels");
    lua_call(L, 1, 1);
    (void)lua_rawgeti(L, KEYS, number);
    const lua_Integer count = (lua_Integer)lua_rawlen(L, series + 1);
    if (lua_rawequal(L, -1, -2)) {
        (void)lua_rawgeti(L, series + 1, count);
        const int before = lua_gettop(L);
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
            append_list(L, before, series, lists[i]);
        }
    } else {
        lua_pushvalue(L, series + 2);
        lua_rawseti(L, KEYS, number);
        lua_pushvalue(L, series);
        lua_rawseti(L, series + 1, count + 1);
    }
    lua_settop(L, series - 1);
}

static int add_frame(lua_State *L, const pra_stream_reader *reader, int integers, pra_error *err)
{
    enum { MOST_QUERIES = 100000 };
    const int64_t query = pra_stream_reader_query_index(reader);
    pra_columns columns = {.size = sizeof columns};
    (void)pra_stream_reader_columns(reader, &columns);
    if (query < 0 || query >= MOST_QUERIES) {
        return pra_error_set_cstr(err, PRA_ERR_FRAME, "a frame answers a query that was not asked");
    }
    for (size_t i = 0; i < columns.series_count; i++) {
        pra__lua_series_push_table(L, &columns, i, integers);
        add_series(L, (lua_Integer)query + 1);
    }
    return PRA_OK;
}

static int decode_streamed(lua_State *L, pra_str body, const pra_limits *limits, int integers)
{
    pra_error err = {0};
    lua_settop(L, 4);
    pra__lua_holder *h = pra__lua_holder_push(L); /* 5 */
    lua_newtable(L);
    lua_newtable(L);
    int code = pra_stream_reader_new(NULL, limits, &h->reader);
    if (code == PRA_OK) {
        code = pra_stream_reader_feed(h->reader, body.ptr, body.len);
    }
    while (code == PRA_OK && (code = pra_stream_reader_next(h->reader, &err)) == PRA_OK) {
        code = add_frame(L, h->reader, integers, &err);
    }
    if (code == PRA_DONE) {
        code = pra_stream_reader_finish(h->reader, &err);
    }
    pra__lua_holder_release(L, RESULTS - 1);
    lua_settop(L, RESULTS);
    return code == PRA_OK ? 1 : pra__lua_fail(L, code, &err);
}

static int decode_answer(lua_State *L)
{
    pra_str body;
    body.ptr = luaL_checklstring(L, 1, &body.len);
    const int streamed = lua_toboolean(L, 2);
    const pra_limits *limits = pra__lua_limits(L, 3);
    const int integers = pra__lua_integers(L, 4);
    return streamed ? decode_streamed(L, body, limits, integers)
                    : decode_sampled(L, body, limits, integers);
}

void pra__lua_client_register(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"encode_queries", encode_queries}, {"decode_answer", decode_answer}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
