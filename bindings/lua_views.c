/* SPDX-License-Identifier: Apache-2.0 */
/* What a storage function is handed: context, request, query, sink. They are good for one callback;
 * what a script reads from them is its own to keep. */
#include "thunk_lua.h"

void pra__lua_view_push(lua_State *L, const char *type, const void *object, void *output,
                        pra__lua_view **list)
{
    pra__lua_view *view = lua_newuserdatauv(L, sizeof *view, 0);
    *view = (pra__lua_view){object, output, *list};
    luaL_setmetatable(L, type);
    *list = view;
}

pra__lua_view *pra__lua_view_check(lua_State *L, int index, const char *type)
{
    pra__lua_view *view = luaL_checkudata(L, index, type);
    if (!view->object) {
        (void)luaL_error(L, "this %s is over: it can be used until the storage function returns",
                         type);
    }
    return view;
}

/* __index: a method of upvalue 1, or what the getter in upvalue 2 makes of the view. */
static int view_index(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
        return 1;
    }
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
    }
    return 1;
}

static void register_view(lua_State *L, const char *type, const luaL_Reg *methods,
                          const luaL_Reg *getters)
{
    (void)luaL_newmetatable(L, type);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_newtable(L);
    luaL_setfuncs(L, getters, 0);
    lua_pushcclosure(L, view_index, 2);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

/* ---- context */

static const pra_context *check_context(lua_State *L)
{
    return pra__lua_view_check(L, 1, PRA__LUA_CONTEXT)->object;
}

static int context_text(lua_State *L, void (*get)(const pra_context *, pra_str *))
{
    pra_str value;
    get(check_context(L), &value);
    pra__lua_push_str(L, value);
    return 1;
}

static int context_tenant(lua_State *L)
{
    return context_text(L, pra_context_tenant);
}

static int context_path(lua_State *L)
{
    return context_text(L, pra_context_path);
}

static int context_query_string(lua_State *L)
{
    return context_text(L, pra_context_query_string);
}

static int context_remote_addr(lua_State *L)
{
    return context_text(L, pra_context_remote_addr);
}

static int context_user(lua_State *L)
{
    return context_text(L, pra_context_user);
}

static int context_worker(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)pra_context_worker(check_context(L)));
    return 1;
}

/* All headers: names in lower case; of repeated names the first. */
static int context_headers(lua_State *L)
{
    const pra_header *headers;
    size_t count = pra_context_headers(check_context(L), &headers);
    lua_createtable(L, 0, (int)count);
    for (size_t i = count; i-- > 0;) {
        luaL_Buffer name;
        luaL_buffinit(L, &name);
        for (size_t k = 0; k < headers[i].name.len; k++) {
            char c = headers[i].name.ptr[k];
            luaL_addchar(&name, c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c);
        }
        luaL_pushresult(&name);
        pra__lua_push_str(L, headers[i].value);
        lua_rawset(L, -3);
    }
    return 1;
}

/* ctx:header(name): nil if the request has none of that name. */
static int context_header(lua_State *L)
{
    const pra_context *ctx = check_context(L);
    pra_str name, value;
    name.ptr = luaL_checklstring(L, 2, &name.len);
    if (!pra_context_header(ctx, name, &value)) {
        return 0;
    }
    pra__lua_push_str(L, value);
    return 1;
}

/* ---- request */

static int request_version(lua_State *L)
{
    const pra__lua_view *view = pra__lua_view_check(L, 1, PRA__LUA_REQUEST);
    lua_pushinteger(L, pra_write_request_version(view->object));
    return 1;
}

static pra_columns request_columns(lua_State *L)
{
    const pra__lua_view *view = pra__lua_view_check(L, 1, PRA__LUA_REQUEST);
    pra_columns columns = {.size = sizeof columns};
    (void)pra_write_request_columns(view->object, &columns);
    return columns;
}

static int request_len(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)request_columns(L).series_count);
    return 1;
}

static void set_span(lua_State *L, const char *name, const char *base, pra_span span)
{
    pra__lua_push_str(L, (pra_str){base + span.off, span.len});
    lua_setfield(L, -2, name);
}

/* A list of {type, family, help, unit}; of 2.0 with the number of a series instead of a family. */
static int request_metadata(lua_State *L)
{
    static const char *const types[] = {"unknown",        "counter", "gauge", "histogram",
                                        "gaugehistogram", "summary", "info",  "stateset"};
    pra_columns columns = request_columns(L);
    lua_createtable(L, (int)columns.metadata_count, 0);
    for (size_t i = 0; i < columns.metadata_count; i++) {
        const pra_metadata *entry = &columns.metadata[i];
        lua_createtable(L, 0, 4);
        int known = entry->type >= 0 && entry->type <= PRA_METRIC_STATESET;
        (void)lua_pushstring(L, types[known ? entry->type : PRA_METRIC_UNKNOWN]);
        lua_setfield(L, -2, "type");
        if (entry->series == UINT32_MAX) {
            set_span(L, "family", columns.base, entry->family);
        } else {
            lua_pushinteger(L, (lua_Integer)entry->series + 1);
            lua_setfield(L, -2, "series");
        }
        set_span(L, "help", columns.base, entry->help);
        set_span(L, "unit", columns.base, entry->unit);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* request:reject(number of the series, reason [, kind [, count]]) */
static int request_reject(lua_State *L)
{
    static const char *const kinds[] = {"sample",   "histogram", "exemplar",
                                        "metadata", "series",    NULL};
    const pra__lua_view *view = pra__lua_view_check(L, 1, PRA__LUA_REQUEST);
    int64_t series = pra__lua_check_int64(L, 2, 1, INT64_MAX);
    pra_str reason;
    reason.ptr = luaL_checklstring(L, 3, &reason.len);
    int kind = luaL_checkoption(L, 4, "series", kinds);
    int64_t count = lua_isnoneornil(L, 5) ? 1 : pra__lua_check_int64(L, 5, 0, INT64_MAX);
    pra_write_result_reject(view->output, kind, (size_t)series - 1, (size_t)count, reason);
    return 0;
}

/* ---- query */

static const pra_query *check_query(lua_State *L)
{
    return pra__lua_view_check(L, 1, PRA__LUA_QUERY)->object;
}

static int query_start_ms(lua_State *L)
{
    pra__lua_push_int64(L, pra_query_start_ms(check_query(L)));
    return 1;
}

static int query_end_ms(lua_State *L)
{
    pra__lua_push_int64(L, pra_query_end_ms(check_query(L)));
    return 1;
}

/* Adds field set, where the matcher stands for a set of values. */
static void set_matcher_set(lua_State *L, const pra_matcher *matcher)
{
    const pra_str *values;
    size_t count = pra_matcher_set(matcher, &values);
    if (count == 0) {
        return;
    }
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        pra__lua_push_str(L, values[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "set");
}

static void push_matcher(lua_State *L, const pra_matcher *matcher)
{
    static const char *const types[] = {"=", "!=", "=~", "!~"};
    pra_str text;
    lua_createtable(L, 0, 5);
    (void)lua_pushstring(L, types[pra_matcher_type(matcher) & 3]);
    lua_setfield(L, -2, "type");
    pra_matcher_name(matcher, &text);
    pra__lua_push_str(L, text);
    lua_setfield(L, -2, "name");
    pra_matcher_value(matcher, &text);
    pra__lua_push_str(L, text);
    lua_setfield(L, -2, "value");
    set_matcher_set(L, matcher);
    if (pra_matcher_prefix(matcher, &text)) {
        pra__lua_push_str(L, text);
        lua_setfield(L, -2, "prefix");
    }
}

/* A list of {type, name, value, set, prefix}. */
static int query_matchers(lua_State *L)
{
    const pra_query *query = check_query(L);
    size_t count = pra_query_matcher_count(query);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        push_matcher(L, pra_query_matcher(query, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void set_integer(lua_State *L, const char *name, int64_t value)
{
    pra__lua_push_int64(L, value);
    lua_setfield(L, -2, name);
}

/* {func, start_ms, end_ms, step_ms, range_ms, by, grouping}, or nil. */
static int query_hints(lua_State *L)
{
    pra_read_hints hints = {.size = sizeof hints};
    if (pra_query_hints(check_query(L), &hints) != PRA_OK || !hints.present) {
        return 0;
    }
    lua_createtable(L, 0, 7);
    pra__lua_push_str(L, hints.func);
    lua_setfield(L, -2, "func");
    set_integer(L, "start_ms", hints.start_ms);
    set_integer(L, "end_ms", hints.end_ms);
    set_integer(L, "step_ms", hints.step_ms);
    set_integer(L, "range_ms", hints.range_ms);
    lua_pushboolean(L, hints.by);
    lua_setfield(L, -2, "by");
    lua_createtable(L, (int)hints.grouping_count, 0);
    for (size_t i = 0; i < hints.grouping_count; i++) {
        pra__lua_push_str(L, hints.grouping[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "grouping");
    return 1;
}

/* Puts into out those of the labels at index 2 that the query asks about, and leaves their values
 * on the stack, so that no finalizer can take them away. */
static size_t collect_asked(lua_State *L, const pra_query *query, size_t matchers, pra_label *out)
{
    size_t count = 0;
    for (size_t i = 0; i < matchers; i++) {
        pra_label *label = &out[count];
        pra_matcher_name(pra_query_matcher(query, i), &label->name);
        pra__lua_push_str(L, label->name);
        if (lua_rawget(L, 2) == LUA_TSTRING) {
            label->value.ptr = lua_tolstring(L, -1, &label->value.len);
            count++;
        } else if (!lua_isnil(L, -1)) {
            (void)luaL_error(L, "the value of label '%s' is a %s, not a string", label->name.ptr,
                             luaL_typename(L, -1));
        }
    }
    return count;
}

/* query:matches(labels): with Prometheus' own rules. */
static int query_matches(lua_State *L)
{
    pra_label few[PRA__LUA_SMALL];
    const pra_query *query = check_query(L);
    size_t matchers = pra_query_matcher_count(query);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    pra_label *asked = pra__lua_labels_room(L, matchers, few);
    luaL_checkstack(L, (int)matchers + 2, "too many matchers");
    size_t count = collect_asked(L, query, matchers, asked);
    int code = pra_query_matches(query, asked, count);
    if (code < 0) { /* no answer is not "no": series would be missing */
        return luaL_error(L, "%s",
                          code == PRA_ERR_NOMEM ? "not enough memory" : pra_strerror(code));
    }
    lua_pushboolean(L, code);
    return 1;
}

/* ---- sink */

static void raise_verdict(lua_State *L, int code, const char *message)
{
    lua_createtable(L, 0, 2);
    set_integer(L, "code", code);
    (void)lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    luaL_setmetatable(L, PRA__LUA_VERDICT);
    (void)lua_error(L);
}

/* Raises what the sink refused: its limits are the reader's fault, a series the script's. */
static void check_sink(lua_State *L, int code, const pra_error *err)
{
    const char *message = err->code ? err->message : pra_strerror(code);
    switch (code) {
    case PRA_OK:
        return;
    case PRA_ERR_NOMEM:
        raise_verdict(L, PRA_ERR_RETRY, message);
        return;
    case PRA_ERR_SAMPLE_LIMIT:
    case PRA_ERR_RESPONSE_TOO_LARGE:
    case PRA_ERR_CANCELLED:
        raise_verdict(L, code, message);
        return;
    default:
        (void)luaL_error(L, "%s", message);
    }
}

/* The samples of a series, in pieces: no memory taken for them. */
static void add_samples(lua_State *L, int timestamps, int values, pra_series_sink *sink)
{
    enum { PIECE = 256 };
    int64_t piece_timestamps[PIECE];
    double piece_values[PIECE];
    pra_error err = {0};
    size_t count = lua_rawlen(L, timestamps);
    for (size_t done = 0; done < count;) {
        size_t n = 0;
        for (; n < PIECE && done < count; n++, done++) {
            int number;
            lua_rawgeti(L, timestamps, (lua_Integer)done + 1);
            lua_rawgeti(L, values, (lua_Integer)done + 1);
            int exact = pra__lua_to_int64(L, -2, &piece_timestamps[n]);
            piece_values[n] = lua_tonumberx(L, -1, &number);
            if (!exact || !number) {
                (void)luaL_error(L, "sample %d of a series has no %s", (int)done + 1,
                                 exact ? "number as value" : "integer as timestamp");
            }
            lua_pop(L, 2);
        }
        check_sink(L, pra_series_sink_samples(sink, piece_timestamps, piece_values, n, &err), &err);
    }
}

/* Those of the series table, one after the other. */
static void add_histograms(lua_State *L, int series, pra_series_sink *sink)
{
    pra_error err = {0};
    pra__lua_histogram histogram;
    if (lua_getfield(L, series, "histograms") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    int list = lua_gettop(L);
    if (!lua_istable(L, list)) {
        (void)luaL_error(L, "field histograms of a series is a %s, not a table",
                         luaL_typename(L, list));
    }
    for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
        pra__lua_histogram_fill(L, list + 1, &histogram);
        check_sink(L, pra_series_sink_histograms(sink, &histogram.columns, 0, 1, &err), &err);
        lua_settop(L, list);
    }
    lua_settop(L, list - 1);
}

static void get_table(lua_State *L, int index, const char *name)
{
    if (lua_getfield(L, index, name) != LUA_TTABLE) {
        (void)luaL_error(L, "field %s of a series is a %s, not a table", name,
                         luaL_typename(L, -1));
    }
}

void pra__lua_sink_add(lua_State *L, pra_series_sink *sink)
{
    pra_label few[PRA__LUA_SMALL];
    pra_error err = {0};
    int series = lua_gettop(L);
    luaL_checkstack(L, 10, NULL);
    if (!lua_istable(L, series)) {
        (void)luaL_error(L, "a series is a table {labels, timestamps, values}, not a %s",
                         luaL_typename(L, series));
    }
    get_table(L, series, "labels");
    get_table(L, series, "timestamps");
    get_table(L, series, "values");
    if (lua_rawlen(L, series + 2) != lua_rawlen(L, series + 3)) {
        (void)luaL_error(L, "a series has %d timestamps and %d values",
                         (int)lua_rawlen(L, series + 2), (int)lua_rawlen(L, series + 3));
    }
    size_t room = pra__lua_labels_count(L, series + 1);
    pra_label *labels = pra__lua_labels_room(L, room, few);
    size_t count = pra__lua_labels_fill(L, series + 1, labels, room);
    check_sink(L, pra_series_sink_begin(sink, labels, count, &err), &err);
    add_samples(L, series + 2, series + 3, sink);
    add_histograms(L, series, sink);
    check_sink(L, pra_series_sink_end(sink, &err), &err);
    lua_settop(L, series - 1);
}

/* sink:add(series) */
static int sink_add(lua_State *L)
{
    const pra__lua_view *view = pra__lua_view_check(L, 1, PRA__LUA_SINK);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    pra__lua_sink_add(L, (pra_series_sink *)(uintptr_t)view->object);
    return 0;
}

void pra__lua_views_register(lua_State *L)
{
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg context_methods[] = {{"header", context_header}, {NULL, NULL}};
    static const luaL_Reg context_getters[] = {{"tenant", context_tenant},
                                               {"path", context_path},
                                               {"query_string", context_query_string},
                                               {"remote_addr", context_remote_addr},
                                               {"user", context_user},
                                               {"worker", context_worker},
                                               {"headers", context_headers},
                                               {NULL, NULL}};
    static const luaL_Reg request_methods[] = {
        {"series", pra__lua_request_series}, {"reject", request_reject}, {NULL, NULL}};
    static const luaL_Reg request_getters[] = {
        {"version", request_version}, {"metadata", request_metadata}, {NULL, NULL}};
    static const luaL_Reg query_methods[] = {{"matches", query_matches}, {NULL, NULL}};
    static const luaL_Reg query_getters[] = {{"start_ms", query_start_ms},
                                             {"end_ms", query_end_ms},
                                             {"matchers", query_matchers},
                                             {"hints", query_hints},
                                             {NULL, NULL}};
    static const luaL_Reg sink_methods[] = {{"add", sink_add}, {NULL, NULL}};
    register_view(L, PRA__LUA_CONTEXT, context_methods, context_getters);
    register_view(L, PRA__LUA_REQUEST, request_methods, request_getters);
    register_view(L, PRA__LUA_QUERY, query_methods, query_getters);
    register_view(L, PRA__LUA_SINK, sink_methods, none);
    (void)luaL_getmetatable(L, PRA__LUA_REQUEST);
    lua_pushcfunction(L, request_len);
    lua_setfield(L, -2, "__len");
    lua_pop(L, 1);
}
