/* SPDX-License-Identifier: Apache-2.0 */
/* Write requests: the one that a storage is handed, and those that a script decodes or builds. */
#include "thunk_lua.h"

#include <string.h>

/* ---- life */

/* When the call is over, series and columns of the request stay. */
static void request_end(pra__lua_view *view)
{
    pra__lua_request *r = (pra__lua_request *)view;
    if (r->shown) {
        r->kept = pra_write_request_share(view->object);
    }
}

static pra__lua_request *push_new(lua_State *L)
{
    pra__lua_request *r = lua_newuserdatauv(L, sizeof *r, 0);
    memset(r, 0, sizeof *r);
    r->columns.size = sizeof r->columns;
    luaL_setmetatable(L, PRA__LUA_REQUEST);
    return r;
}

void pra__lua_request_push(lua_State *L, const pra_write_request *object, pra_write_result *result,
                           pra__lua_views *views)
{
    pra__lua_request *r = push_new(L);
    (void)pra_write_request_columns(object, &r->columns);
    r->view = (pra__lua_view){object, result, request_end, views->integers, views->first};
    views->first = &r->view;
}

pra__lua_request *pra__lua_request_new(lua_State *L, int integers)
{
    pra__lua_request *r = push_new(L);
    r->view.integers = integers;
    if (pra_write_request_new(NULL, &r->kept) != PRA_OK) {
        (void)luaL_error(L, "not enough memory");
    }
    r->view.object = r->built = r->kept;
    return r;
}

static int request_gc(lua_State *L)
{
    pra__lua_request *r = luaL_checkudata(L, 1, PRA__LUA_REQUEST);
    pra_write_request *kept = r->kept, *scratch = r->scratch;
    r->view.object = r->kept = r->built = r->scratch = NULL;
    pra_write_request_free(kept);
    pra_write_request_free(scratch);
    pra__lua_let_go(L, r->held);
    r->held = 0;
    return 0;
}

static void hold(lua_State *L, pra__lua_request *r, const pra_write_request *data)
{
    const size_t bytes = pra_write_request_memory(data);
    if (bytes > r->held) {
        const size_t more = bytes - r->held;
        r->held = bytes;
        pra__lua_hold(L, more);
    }
}

void pra__lua_request_filled(lua_State *L, pra__lua_request *r)
{
    hold(L, r, r->built);
}

static const pra_columns *columns_of(pra__lua_request *r)
{
    if (r->built) {
        (void)pra_write_request_columns(r->built, &r->columns);
    }
    return &r->columns;
}

pra__lua_request *pra__lua_request_check(lua_State *L, int index)
{
    return (pra__lua_request *)pra__lua_view_check(L, index, PRA__LUA_REQUEST);
}

const pra_columns *pra__lua_request_now(lua_State *L, pra__lua_request *r)
{
    if (!r->view.object) {
        pra__lua_view_over(L, PRA__LUA_REQUEST);
    }
    return columns_of(r);
}

const pra_columns *pra__lua_request_columns(lua_State *L, int index)
{
    return columns_of(pra__lua_request_check(L, index));
}

const pra_write_request *pra__lua_request_data(lua_State *L, pra__lua_request *r)
{
    const pra_write_request *data = r->view.object ? r->view.object : r->kept;
    if (!data) {
        pra__lua_view_over(L, PRA__LUA_REQUEST);
    }
    if (!r->shown) {
        r->shown = 1;
        if (r->view.end) {
            hold(L, r, data);
        }
    }
    (void)columns_of(r);
    return data;
}

/* ---- failures, and what has to be freed */

int pra__lua_fail(lua_State *L, int code, const pra_error *err)
{
    lua_pushnil(L);
    (void)lua_pushstring(L, err && err->code ? err->message : pra_strerror(code));
    lua_pushinteger(L, code);
    return 3;
}

static int holder_free(lua_State *L)
{
    pra__lua_holder *h = luaL_checkudata(L, 1, PRA__LUA_HOLDER);
    pra__lua_holder held = *h;
    memset(h, 0, sizeof *h);
    pra_buffer_free(held.message);
    pra_buffer_free(held.block);
    pra_arena_free(held.arena);
    pra_write_request_free(held.request);
    pra_read_request_free(held.queries);
    pra_read_response_free(held.response);
    pra_stream_reader_free(held.reader);
    return 0;
}

pra__lua_holder *pra__lua_holder_push(lua_State *L)
{
    pra__lua_holder *h = lua_newuserdatauv(L, sizeof *h, 0);
    memset(h, 0, sizeof *h);
    luaL_setmetatable(L, PRA__LUA_HOLDER);
    return h;
}

void pra__lua_holder_release(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    lua_pushcfunction(L, holder_free);
    lua_pushvalue(L, index);
    lua_call(L, 1, 0);
}

/* ---- fields */

static int request_version(lua_State *L)
{
    lua_pushinteger(L, pra_write_request_version(pra__lua_request_check(L, 1)->view.object));
    return 1;
}

static int push_count(lua_State *L, size_t count)
{
    lua_pushinteger(L, (lua_Integer)count);
    return 1;
}

static int series_count(lua_State *L)
{
    return push_count(L, pra__lua_request_columns(L, 1)->series_count);
}

static int sample_count(lua_State *L)
{
    return push_count(L, pra__lua_request_columns(L, 1)->sample_count);
}

static int histogram_count(lua_State *L)
{
    return push_count(L, pra__lua_request_columns(L, 1)->histogram_count);
}

static int exemplar_count(lua_State *L)
{
    return push_count(L, pra__lua_request_columns(L, 1)->exemplar_count);
}

static void set_span(lua_State *L, const char *name, const char *base, pra_span span)
{
    pra__lua_push_span(L, base, span);
    lua_setfield(L, -2, name);
}

static const char *const types[] = {"unknown", "counter", "gauge",    "histogram", "gaugehistogram",
                                    "summary", "info",    "stateset", NULL};

int32_t pra__lua_metric_type(const char *name_cstr)
{
    int32_t type = 0;
    while (types[type] && strcmp(types[type], name_cstr) != 0) {
        type++;
    }
    return types[type] ? type : -1;
}

static void push_metadata(lua_State *L, const char *base, const pra_metadata *entry)
{
    lua_createtable(L, 0, 4);
    int known = entry->type >= 0 && entry->type <= PRA_METRIC_STATESET;
    (void)lua_pushstring(L, types[known ? entry->type : PRA_METRIC_UNKNOWN]);
    lua_setfield(L, -2, "type");
    if (entry->series == UINT32_MAX) {
        set_span(L, "family", base, entry->family);
    } else {
        lua_pushinteger(L, (lua_Integer)entry->series + 1);
        lua_setfield(L, -2, "series");
    }
    set_span(L, "help", base, entry->help);
    set_span(L, "unit", base, entry->unit);
}

/* A list of {type, family, help, unit}; of 2.0 with the number of a series instead of a family. */
static int request_metadata(lua_State *L)
{
    const pra_columns *columns = pra__lua_request_columns(L, 1);
    lua_createtable(L, (int)columns->metadata_count, 0);
    for (size_t i = 0; i < columns->metadata_count; i++) {
        push_metadata(L, columns->base, &columns->metadata[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* ---- columns of all series */

/* Columns of what can still be added to are copies: an owner would be in the way. */
static int push_column(lua_State *L, pra__lua_kind kind, const void *items, size_t count)
{
    pra__lua_request *r = lua_touserdata(L, 1);
    const pra_write_request *data = pra__lua_request_data(L, r);
    pra__lua_column_push(L, data, r->built != NULL,
                         (pra__lua_numbers){items, count, kind, r->view.integers});
    return 1;
}

static int request_timestamps(lua_State *L)
{
    const pra_columns *c = pra__lua_request_columns(L, 1);
    return push_column(L, PRA__LUA_INT64, c->timestamps_ms, c->sample_count);
}

static int request_values(lua_State *L)
{
    const pra_columns *c = pra__lua_request_columns(L, 1);
    return push_column(L, PRA__LUA_DOUBLE, c->values, c->sample_count);
}

static int request_start_timestamps(lua_State *L)
{
    const pra_columns *c = pra__lua_request_columns(L, 1);
    return c->start_timestamps_ms
               ? push_column(L, PRA__LUA_INT64, c->start_timestamps_ms, c->sample_count)
               : 0;
}

static int push_offsets(lua_State *L, const pra_columns *c, const uint32_t *offsets)
{
    return push_column(L, PRA__LUA_UINT32, offsets, c->series_count + 1);
}

static int sample_offsets(lua_State *L)
{
    const pra_columns *c = pra__lua_request_columns(L, 1);
    return push_offsets(L, c, c->sample_offsets);
}

static int label_offsets(lua_State *L)
{
    const pra_columns *c = pra__lua_request_columns(L, 1);
    return push_offsets(L, c, c->label_offsets);
}

static int histogram_offsets(lua_State *L)
{
    const pra_columns *c = pra__lua_request_columns(L, 1);
    return push_offsets(L, c, c->histogram_offsets);
}

static int exemplar_offsets(lua_State *L)
{
    const pra_columns *c = pra__lua_request_columns(L, 1);
    return push_offsets(L, c, c->exemplar_offsets);
}

static int fingerprints(lua_State *L)
{
    const pra_columns *c = pra__lua_request_columns(L, 1);
    lua_createtable(L, (int)c->series_count, 0);
    for (size_t i = 0; i < c->series_count; i++) {
        pra__lua_push_fingerprint(L, c, i);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* ---- methods */

void pra__lua_reject(lua_State *L, pra__lua_request *r, size_t series, int reason_index)
{
    static const char *const kinds[] = {"sample",   "histogram", "exemplar",
                                        "metadata", "series",    NULL};
    pra_str reason;
    reason.ptr = luaL_checklstring(L, reason_index, &reason.len);
    int kind = luaL_checkoption(L, reason_index + 1, "series", kinds);
    uint64_t count =
        lua_isnoneornil(L, reason_index + 2) ? 1 : pra__lua_check_uint64(L, reason_index + 2);
    if (!r->view.object) {
        (void)luaL_error(L, "this request is over: its series cannot be refused any more");
    }
    if (!r->view.output) {
        (void)luaL_error(L, "only what a storage is handed can be refused");
    }
    pra_write_result_reject(r->view.output, kind, series, (size_t)count, reason);
}

/* request:reject(number of the series, reason [, kind [, count]]) */
static int request_reject(lua_State *L)
{
    pra__lua_request *r = pra__lua_request_check(L, 1);
    int64_t series = pra__lua_check_int64(L, 2, INT64_MIN, INT64_MAX);
    luaL_argcheck(L, series >= 1, 2, "series are counted from 1");
    pra__lua_reject(L, r, (size_t)series - 1, 3);
    return 0;
}

/* copy(self): a share, to be kept. */
static int request_copy(lua_State *L)
{
    const pra__lua_request *from = pra__lua_request_check(L, 1);
    pra__lua_request *r = push_new(L);
    r->view.integers = from->view.integers;
    r->view.object = r->kept = pra_write_request_share(from->view.object);
    r->built = from->built;
    if (!r->kept) {
        return pra__lua_fail(L, PRA_ERR_BUSY, NULL);
    }
    (void)pra_write_request_columns(r->kept, &r->columns);
    hold(L, r, r->kept);
    return 1;
}

/* encode(self, version, compressed) */
static int request_encode(lua_State *L)
{
    pra_error err = {0};
    const pra__lua_request *r = pra__lua_request_check(L, 1);
    int32_t version = (int32_t)pra__lua_check_int64(L, 2, INT32_MIN, INT32_MAX);
    const int compressed = lua_toboolean(L, 3);
    pra__lua_holder *h = pra__lua_holder_push(L);
    int code = pra_buffer_new(NULL, &h->message);
    if (code == PRA_OK) {
        code = pra_buffer_new(NULL, &h->block);
    }
    if (code == PRA_OK) {
        code = pra_write_request_encode(r->view.object, version, h->message, &err);
    }
    return pra__lua_encoded(L, h, code, compressed, &err);
}

int pra__lua_encoded(lua_State *L, pra__lua_holder *h, int code, int compressed, pra_error *err)
{
    const int holder = lua_gettop(L);
    pra_buffer *out = h->message;
    if (code == PRA_OK && compressed) {
        out = h->block;
        code =
            pra_snappy_compress(pra_buffer_data(h->message), pra_buffer_len(h->message), out, err);
    }
    if (code == PRA_OK) {
        pra__lua_push_str(L, (pra_str){pra_buffer_data(out), pra_buffer_len(out)});
    }
    pra__lua_holder_release(L, holder);
    return code == PRA_OK ? 1 : pra__lua_fail(L, code, err);
}

/* ---- functions of the module */

/* request([integers]): an empty one, to be built. */
static int new_request(lua_State *L)
{
    (void)pra__lua_request_new(L, pra__lua_integers(L, 1));
    return 1;
}

/* A message that is not compressed is borrowed by what decodes it, and it would have to live as
 * long as the last Column: so it becomes a block, which is not. */
static int compress(lua_State *L, pra_str *data, pra_error *err)
{
    pra__lua_holder *h = pra__lua_holder_push(L);
    int code = pra_buffer_new(NULL, &h->block);
    if (code == PRA_OK) {
        code = pra_snappy_compress(data->ptr, data->len, h->block, err);
    }
    if (code == PRA_OK) {
        *data = (pra_str){pra_buffer_data(h->block), pra_buffer_len(h->block)};
    }
    return code;
}

/* decode(data, version, compressed, limits, integers) */
static int decode(lua_State *L)
{
    pra_str data;
    pra_error err = {0};
    data.ptr = luaL_checklstring(L, 1, &data.len);
    int32_t version = (int32_t)pra__lua_check_int64(L, 2, INT32_MIN, INT32_MAX);
    const int compressed = lua_toboolean(L, 3);
    const pra_limits *limits = pra__lua_limits(L, 4);
    int integers = pra__lua_integers(L, 5);
    lua_settop(L, 5);
    int code = compressed ? PRA_OK : compress(L, &data, &err);
    pra__lua_request *r = pra__lua_request_new(L, integers);
    if (code == PRA_OK) {
        code = pra_write_request_decode_snappy(r->kept, version, data.ptr, data.len, limits, &err);
    }
    if (!compressed) {
        pra__lua_holder_release(L, 6);
    }
    if (code != PRA_OK) {
        return pra__lua_fail(L, code, &err);
    }
    r->built = NULL;
    (void)pra_write_request_columns(r->kept, &r->columns);
    hold(L, r, r->kept);
    return 1;
}

void pra__lua_requests_register(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"request", new_request}, {"decode", decode}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"series", pra__lua_request_series},
                                       {"labels", pra__lua_request_labels},
                                       {"each_label", pra__lua_request_each_label},
                                       {"reject", request_reject},
                                       {"copy", request_copy},
                                       {"encode", request_encode},
                                       {NULL, NULL}};
    static const luaL_Reg getters[] = {{"version", request_version},
                                       {"series_count", series_count},
                                       {"sample_count", sample_count},
                                       {"histogram_count", histogram_count},
                                       {"exemplar_count", exemplar_count},
                                       {"metadata", request_metadata},
                                       {"timestamps", request_timestamps},
                                       {"values", request_values},
                                       {"start_timestamps", request_start_timestamps},
                                       {"sample_offsets", sample_offsets},
                                       {"label_offsets", label_offsets},
                                       {"histogram_offsets", histogram_offsets},
                                       {"exemplar_offsets", exemplar_offsets},
                                       {"fingerprints", fingerprints},
                                       {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__len", series_count}, {"__gc", request_gc}, {NULL, NULL}};
    static const luaL_Reg holder[] = {{"__gc", holder_free}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    (void)luaL_newmetatable(L, PRA__LUA_HOLDER);
    luaL_setfuncs(L, holder, 0);
    lua_pop(L, 1);
    pra__lua_class_register(L, PRA__LUA_REQUEST, pra__lua_view_index, methods, getters, meta);
    lua_setfield(L, -2, "Request");
}
