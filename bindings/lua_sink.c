/* SPDX-License-Identifier: Apache-2.0 */
/* Series of a script: into an answer, and, as a whole, into a request. */
#include "thunk_lua.h"

/* ---- what an answer refuses */

static void raise_verdict(lua_State *L, int code, const char *message)
{
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, code);
    lua_setfield(L, -2, "code");
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

/* ---- lists of numbers: tables or Columns */

static void get_list(lua_State *L, int series, const char *name, pra__lua_kind kind,
                     pra__lua_list *out)
{
    (void)lua_getfield(L, series, name);
    *out = (pra__lua_list){.name = name, .index = lua_gettop(L)};
    if (lua_istable(L, -1)) {
        out->numbers.count = lua_rawlen(L, -1);
    } else if (!pra__lua_column_get(L, -1, &out->numbers)) {
        (void)luaL_error(L, "field %s of a series is a %s, not a table", name,
                         luaL_typename(L, -1));
    } else if (out->numbers.kind != kind) {
        (void)luaL_error(L, "field %s of a series is a Column of other numbers", name);
    }
}

int pra__lua_samples_open(lua_State *L, int series, pra__lua_samples *out)
{
    get_list(L, series, "timestamps", PRA__LUA_INT64, &out->timestamps);
    get_list(L, series, "values", PRA__LUA_DOUBLE, &out->values);
    out->count = out->timestamps.numbers.count;
    if (out->count != out->values.numbers.count) {
        return luaL_error(L, "a series has %d timestamps and %d values", (int)out->count,
                          (int)out->values.numbers.count);
    }
    if (lua_getfield(L, series, "start_timestamps") == LUA_TNIL) {
        return 0;
    }
    get_list(L, series, "start_timestamps", PRA__LUA_INT64, &out->starts);
    if (out->count != out->starts.numbers.count) {
        return luaL_error(L, "a series has %d timestamps and %d start_timestamps", (int)out->count,
                          (int)out->starts.numbers.count);
    }
    return 1;
}

static int wrong_number(lua_State *L, const pra__lua_list *list, size_t i, const char *wanted)
{
    return luaL_error(L, "number %d of the %s of a series is no %s", (int)i + 1, list->name,
                      wanted);
}

const int64_t *pra__lua_list_integers(lua_State *L, const pra__lua_list *list, size_t start,
                                      size_t count, int64_t *room)
{
    if (list->numbers.items) {
        return (const int64_t *)list->numbers.items + start;
    }
    for (size_t i = 0; i < count; i++) {
        (void)lua_rawgeti(L, list->index, (lua_Integer)(start + i) + 1);
        if (!pra__lua_to_int64(L, -1, &room[i])) {
            (void)wrong_number(L, list, start + i, "integer");
        }
        lua_pop(L, 1);
    }
    return room;
}

const double *pra__lua_list_numbers(lua_State *L, const pra__lua_list *list, size_t start,
                                    size_t count, double *room)
{
    if (list->numbers.items) {
        return (const double *)list->numbers.items + start;
    }
    for (size_t i = 0; i < count; i++) {
        int is_number;
        (void)lua_rawgeti(L, list->index, (lua_Integer)(start + i) + 1);
        room[i] = lua_tonumberx(L, -1, &is_number);
        if (!is_number) {
            (void)wrong_number(L, list, start + i, "number");
        }
        lua_pop(L, 1);
    }
    return room;
}

/* ---- sink */

/* The samples of a series, in pieces: no memory taken for them. */
static void add_samples(lua_State *L, const pra__lua_samples *samples, pra_series_sink *sink)
{
    int64_t timestamps[PRA__LUA_PIECE];
    double values[PRA__LUA_PIECE];
    pra_error err = {0};
    for (size_t done = 0; done < samples->count; done += PRA__LUA_PIECE) {
        size_t left = samples->count - done;
        size_t n = left < PRA__LUA_PIECE ? left : PRA__LUA_PIECE;
        const int64_t *t = pra__lua_list_integers(L, &samples->timestamps, done, n, timestamps);
        const double *v = pra__lua_list_numbers(L, &samples->values, done, n, values);
        check_sink(L, pra_series_sink_samples(sink, t, v, n, &err), &err);
    }
}

/* Those of the series, one after the other. */
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

pra_label *pra__lua_labels_get(lua_State *L, int index, pra_label *few, size_t *count)
{
    if (!lua_istable(L, index)) {
        (void)luaL_error(L, "the labels of a series are a %s, not a table",
                         luaL_typename(L, index));
    }
    size_t room = pra__lua_labels_count(L, index);
    pra_label *labels = pra__lua_labels_room(L, room, few);
    *count = pra__lua_labels_fill(L, index, labels, room);
    pra__lua_labels_sort(labels, *count);
    return labels;
}

void pra__lua_sink_add(lua_State *L, pra_series_sink *sink)
{
    pra_label few[PRA__LUA_SMALL];
    pra_error err = {0};
    pra__lua_samples samples;
    size_t count;
    int series = lua_gettop(L);
    luaL_checkstack(L, 10, NULL);
    if (!lua_istable(L, series)) {
        (void)luaL_error(L, "a series is a table {labels, timestamps, values}, not a %s",
                         luaL_typename(L, series));
    }
    (void)lua_getfield(L, series, "labels");
    (void)pra__lua_samples_open(L, series, &samples);
    const pra_label *labels = pra__lua_labels_get(L, series + 1, few, &count);
    check_sink(L, pra_series_sink_begin(sink, labels, count, &err), &err);
    add_samples(L, &samples, sink);
    add_histograms(L, series, sink);
    check_sink(L, pra_series_sink_end(sink, &err), &err);
    lua_settop(L, series - 1);
}

int pra__lua_sink_add_method(lua_State *L)
{
    const pra__lua_view *view = pra__lua_view_check(L, 1, PRA__LUA_SINK);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    pra__lua_sink_add(L, (pra_series_sink *)(uintptr_t)view->object);
    return 0;
}
