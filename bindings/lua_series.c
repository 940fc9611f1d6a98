/* SPDX-License-Identifier: Apache-2.0 */
/* Series of a request: objects that are made of what a script asks for, and plain tables. */
#include "thunk_lua.h"

#include <string.h>

/* ---- numbers */

void pra__lua_push_integers(lua_State *L, const int64_t *items, size_t count, int integers)
{
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        pra__lua_push_integer(L, items[i], integers);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

void pra__lua_push_numbers(lua_State *L, const double *items, size_t count)
{
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushnumber(L, items[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* ---- exemplars and histograms, as lists of tables */

static void push_exemplar(lua_State *L, const pra_columns *columns, uint32_t number, int integers)
{
    uint32_t first = columns->exemplar_label_offsets[number];
    lua_createtable(L, 0, 3);
    pra__lua_push_label_spans(L, columns->base, columns->exemplar_labels + first,
                              columns->exemplar_label_offsets[number + 1] - first);
    lua_setfield(L, -2, "labels");
    pra__lua_push_integer(L, columns->exemplar_timestamps_ms[number], integers);
    lua_setfield(L, -2, "timestamp");
    lua_pushnumber(L, columns->exemplar_values[number]);
    lua_setfield(L, -2, "value");
}

/* nil if there are none */
static void push_exemplars(lua_State *L, const pra_columns *columns, pra_range range, int integers)
{
    if (range.count == 0) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, (int)range.count, 0);
    for (uint32_t i = 0; i < range.count; i++) {
        push_exemplar(L, columns, range.start + i, integers);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_histograms(lua_State *L, const pra_columns *columns, const pra_series *series,
                            int integers)
{
    if (series->histogram_count == 0) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, (int)series->histogram_count, 0);
    for (size_t i = 0; i < series->histogram_count; i++) {
        pra__lua_histogram_push(L, columns, &series->histograms[i], integers);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* ---- plain series */

void pra__lua_series_push_table(lua_State *L, const pra_columns *columns, size_t index,
                                int integers)
{
    pra_series series = {.size = sizeof series};
    (void)pra_columns_series(columns, index, &series);
    lua_createtable(L, 0, 4);
    pra__lua_push_label_spans(L, series.base, series.labels, series.label_count);
    lua_setfield(L, -2, "labels");
    pra__lua_push_integers(L, series.timestamps_ms, series.sample_count, integers);
    lua_setfield(L, -2, "timestamps");
    pra__lua_push_numbers(L, series.values, series.sample_count);
    lua_setfield(L, -2, "values");
    if (series.start_timestamps_ms && series.sample_count > 0) {
        pra__lua_push_integers(L, series.start_timestamps_ms, series.sample_count, integers);
        lua_setfield(L, -2, "start_timestamps");
    }
    push_exemplars(L, columns, series.exemplars, integers);
    lua_setfield(L, -2, "exemplars");
    push_histograms(L, columns, &series, integers);
    lua_setfield(L, -2, "histograms");
}

/* ---- series objects: tables with a metatable, in which what was asked for stays */

enum { REQUEST = 1, NUMBER, STRINGS, SLOTS = STRINGS };

/* What an object stands for. */
typedef struct series {
    const pra_write_request *data;
    pra__lua_request *request;
    const pra_columns *columns;
    size_t index;
} series;

static series check_series(lua_State *L, int object)
{
    series s = {0};
    int number = 0;
    luaL_checktype(L, object, LUA_TTABLE);
    (void)lua_rawgeti(L, object, REQUEST);
    (void)lua_rawgeti(L, object, NUMBER);
    s.request = luaL_testudata(L, -2, PRA__LUA_REQUEST);
    if (!s.request) {
        (void)luaL_argerror(L, object, "a series of a request is wanted");
    }
    s.data = pra__lua_request_data(L, s.request);
    s.columns = &s.request->columns;
    s.index = (size_t)lua_tointegerx(L, -1, &number) - 1;
    if (!number || s.index >= s.columns->series_count) {
        (void)luaL_argerror(L, object, "the request has no such series");
    }
    lua_pop(L, 2);
    return s;
}

static pra_series pointers_of(const series *s)
{
    pra_series out = {.size = sizeof out};
    (void)pra_columns_series(s->columns, s->index, &out);
    return out;
}

/* STRINGS[0] is the number of the series they were last used for. */
static int series_labels(lua_State *L)
{
    const series s = check_series(L, 1);
    (void)lua_rawgeti(L, 1, STRINGS);
    const int strings = lua_gettop(L);
    luaL_checktype(L, strings, LUA_TTABLE);
    (void)lua_rawgeti(L, strings, 0);
    const int follows = lua_tointeger(L, -1) == (lua_Integer)s.index;
    pra__lua_labels_push(L, s.columns, s.index, strings, follows);
    lua_pushinteger(L, (lua_Integer)s.index + 1);
    lua_rawseti(L, strings, 0);
    return 1;
}

static int push_column(lua_State *L, const series *s, pra__lua_kind kind, const void *items,
                       size_t count)
{
    pra__lua_column_push(L, s->data, s->request->built != NULL,
                         (pra__lua_numbers){items, count, kind, s->request->view.integers});
    return 1;
}

static int series_timestamps(lua_State *L)
{
    const series s = check_series(L, 1);
    const pra_series p = pointers_of(&s);
    return push_column(L, &s, PRA__LUA_INT64, p.timestamps_ms, p.sample_count);
}

static int series_values(lua_State *L)
{
    const series s = check_series(L, 1);
    const pra_series p = pointers_of(&s);
    return push_column(L, &s, PRA__LUA_DOUBLE, p.values, p.sample_count);
}

static int series_start_timestamps(lua_State *L)
{
    const series s = check_series(L, 1);
    const pra_series p = pointers_of(&s);
    if (!p.start_timestamps_ms || p.sample_count == 0) {
        return 0;
    }
    return push_column(L, &s, PRA__LUA_INT64, p.start_timestamps_ms, p.sample_count);
}

static int series_histograms(lua_State *L)
{
    const series s = check_series(L, 1);
    const pra_series p = pointers_of(&s);
    push_histograms(L, s.columns, &p, s.request->view.integers);
    return 1;
}

static int series_exemplars(lua_State *L)
{
    const series s = check_series(L, 1);
    push_exemplars(L, s.columns, pointers_of(&s).exemplars, s.request->view.integers);
    return 1;
}

static int series_number(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_series(L, 1).index + 1);
    return 1;
}

static int series_fingerprint(lua_State *L)
{
    const series s = check_series(L, 1);
    pra__lua_push_fingerprint(L, s.columns, s.index);
    return 1;
}

/* ---- methods */

/* series:label(name): of the labels as the script sees them. */
static int series_label(lua_State *L)
{
    pra_str name;
    const series s = check_series(L, 1);
    name.ptr = luaL_checklstring(L, 2, &name.len);
    lua_settop(L, 2);
    lua_pushliteral(L, "labels");
    if (lua_rawget(L, 1) == LUA_TTABLE) {
        lua_pushvalue(L, 2);
        (void)lua_rawget(L, -2);
        return 1;
    }
    const pra_series p = pointers_of(&s);
    for (size_t i = 0; i < p.label_count; i++) {
        const pra_span span = p.labels[i].name;
        if (span.len == name.len && memcmp(p.base + span.off, name.ptr, name.len) == 0) {
            pra__lua_push_span(L, p.base, p.labels[i].value);
            return 1;
        }
    }
    return 0;
}

/* Upvalues: the series, the number of samples given out. */
static int next_sample(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    const series s = check_series(L, 1);
    const pra_series p = pointers_of(&s);
    const size_t at = (size_t)lua_tointeger(L, lua_upvalueindex(2));
    if (at >= p.sample_count) {
        return 0;
    }
    lua_pushinteger(L, (lua_Integer)at + 1);
    lua_replace(L, lua_upvalueindex(2));
    pra__lua_push_integer(L, p.timestamps_ms[at], s.request->view.integers);
    lua_pushnumber(L, p.values[at]);
    return 2;
}

/* for timestamp, value in series:samples() do */
static int series_samples(lua_State *L)
{
    (void)check_series(L, 1);
    lua_settop(L, 1);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_sample, 2);
    return 1;
}

/* series:reject(reason [, kind [, count]]) */
static int series_reject(lua_State *L)
{
    const series s = check_series(L, 1);
    pra__lua_reject(L, s.request, s.index, 2);
    return 0;
}

/* A method of upvalue 1, or what the getter in upvalue 2 makes, which stays in the object. */
static int series_index(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
        return 1;
    }
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) == LUA_TNIL) {
        return 1;
    }
    const lua_CFunction get = lua_tocfunction(L, -1);
    lua_settop(L, 2); /* called as it is: it takes the series at index 1 */
    if (get(L) == 0) {
        return 0;
    }
    if (!lua_isnil(L, -1)) {
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -2);
        lua_rawset(L, 1);
    }
    return 1;
}

static int series_newindex(lua_State *L)
{
    return luaL_error(L, "a series of a request cannot be changed; series:totable() gives one "
                         "that can");
}

/* ---- the iterator */

/* Upvalues: the request, the strings of its labels, the metatable of series, how many were given
 * out (userdata, which is quicker to come by than a number). */
static int next_series(lua_State *L)
{
    size_t *at = lua_touserdata(L, lua_upvalueindex(4));
    const pra_columns *columns = pra__lua_request_now(L, lua_touserdata(L, lua_upvalueindex(1)));
    if (*at >= columns->series_count) {
        return 0;
    }
    enum { FIELDS = 4 };
    lua_createtable(L, SLOTS, FIELDS);
    lua_pushvalue(L, lua_upvalueindex(3));
    (void)lua_setmetatable(L, -2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_rawseti(L, -2, REQUEST);
    lua_pushinteger(L, (lua_Integer)*at + 1);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, NUMBER);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_rawseti(L, -3, STRINGS);
    ++*at;
    return 2;
}

/* for series, number in request:series() do */
int pra__lua_request_series(lua_State *L)
{
    const pra_columns *columns = pra__lua_request_columns(L, 1);
    (void)pra__lua_request_data(L, lua_touserdata(L, 1)); /* they may stay */
    lua_settop(L, 1);
    pra__lua_strings_push(L, columns);
    (void)luaL_getmetatable(L, PRA__LUA_SERIES);
    size_t *at = lua_newuserdatauv(L, sizeof *at, 0);
    *at = 0;
    lua_pushcclosure(L, next_series, 4);
    return 1;
}

/* ---- what is taken as a series: see pra__lua_series_whole */

static int is_kind(lua_State *L, int object, const char *name, int column)
{
    pra__lua_numbers numbers;
    (void)lua_pushstring(L, name);
    const int type = lua_rawget(L, object);
    const int fits = type == LUA_TNIL || (column && pra__lua_column_get(L, -1, &numbers));
    lua_pop(L, 1);
    return fits;
}

int pra__lua_series_whole(lua_State *L, int object, pra__lua_request **request, size_t *index)
{
    if (!lua_istable(L, object) || !lua_getmetatable(L, object)) {
        return 0;
    }
    (void)luaL_getmetatable(L, PRA__LUA_SERIES);
    const int is_series = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    if (!is_series || !is_kind(L, object, "timestamps", 1) || !is_kind(L, object, "values", 1) ||
        !is_kind(L, object, "start_timestamps", 1) || !is_kind(L, object, "histograms", 0) ||
        !is_kind(L, object, "exemplars", 0)) {
        return 0;
    }
    const series s = check_series(L, object);
    *request = s.request;
    *index = s.index;
    return 1;
}

void pra__lua_series_register(lua_State *L)
{
    static const luaL_Reg methods[] = {{"label", series_label},
                                       {"samples", series_samples},
                                       {"reject", series_reject},
                                       {NULL, NULL}};
    static const luaL_Reg getters[] = {{"labels", series_labels},
                                       {"timestamps", series_timestamps},
                                       {"values", series_values},
                                       {"start_timestamps", series_start_timestamps},
                                       {"histograms", series_histograms},
                                       {"exemplars", series_exemplars},
                                       {"index", series_number},
                                       {"fingerprint", series_fingerprint},
                                       {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__newindex", series_newindex}, {NULL, NULL}};
    pra__lua_class_register(L, PRA__LUA_SERIES, series_index, methods, getters, meta);
    lua_setfield(L, -2, "Series");
}
