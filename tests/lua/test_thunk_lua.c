/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of Lua fails in turn, in every callback: the sender is told to try again,
 * nothing leaks, and the next request works. */
#include "thunk_lua.h"

#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/failing_alloc.h"

int luaopen_prom_remote_api_core(lua_State *L);

/* ---- an allocator that fails on demand */

struct memory {
    size_t live;
    size_t calls;   /* that want more */
    size_t fail_at; /* SIZE_MAX: never */
    int onward;     /* also all later ones */
    size_t failed;
    size_t refused; /* bytes, when eager: every allocation fails once, so that Lua collects all */
    int eager;
};

static int refuse_once(struct memory *m, size_t more)
{
    int first = m->refused != more;
    m->refused = first ? more : 0;
    return first;
}

static void *allocate(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    struct memory *m = ctx;
    size_t held = ptr ? old_size : 0; /* else old_size is a kind of object */
    if (new_size > held) {
        size_t call = m->calls++;
        if (m->eager && refuse_once(m, new_size - held)) {
            return NULL;
        }
        if (call == m->fail_at || (m->onward && call > m->fail_at)) {
            m->failed++;
            return NULL;
        }
    }
    m->live = m->live - held + new_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_size);
}

static void never_fail(struct memory *m)
{
    m->fail_at = SIZE_MAX;
    m->onward = 0;
}

static void fail_at(struct memory *m, size_t n, int onward)
{
    m->calls = m->failed = 0;
    m->fail_at = n;
    m->onward = onward;
}

/* ---- requests */

static pra_buffer *compressed(pra_buffer *message)
{
    pra_buffer *out;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(
        pra_snappy_compress(pra_buffer_data(message), pra_buffer_len(message), out, NULL), PRA_OK);
    pra_buffer_free(message);
    return out;
}

#define STR(literal)                                                                               \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static void add_histogram(pra_write_request *req)
{
    static const pra_bucket_span spans[] = {{0, 2}};
    static const int64_t deltas[] = {1, 2};
    static const double counts[] = {1.0};
    pra_histogram h = {.timestamp_ms = 7,
                       .count_bits = 8,
                       .sum = 2.5,
                       .schema = 1,
                       .positive_spans = {0, 1},
                       .negative_spans = {0, 1},
                       .positive_deltas = {0, 2},
                       .negative_deltas = {0, 2}};
    pra_columns columns = {.size = sizeof columns,
                           .histograms = &h,
                           .histogram_count = 1,
                           .bucket_spans = spans,
                           .bucket_span_count = 1,
                           .negative_bucket_spans = spans,
                           .negative_bucket_span_count = 1,
                           .positive_deltas = deltas,
                           .positive_delta_count = 2,
                           .negative_deltas = deltas,
                           .negative_delta_count = 2,
                           .positive_counts = counts,
                           .negative_counts = counts,
                           .custom_values = counts};
    assert_int_equal(pra_write_request_add_histogram(req, &columns, 0), PRA_OK);
}

static pra_buffer *write_body(void)
{
    static const pra_label labels[] = {
        {STR("__name__"), STR("up")},
        {STR("path"), STR("a value that is too long to be one of Lua's short strings")}};
    static const int64_t timestamps[] = {1, 2};
    static const double values[] = {0.5, 1.5};
    pra_write_request *req;
    pra_buffer *message;
    assert_int_equal(pra_write_request_new(NULL, &req), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &message), PRA_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pra_write_request_add_series(req, labels, 2), PRA_OK);
        assert_int_equal(pra_write_request_add_samples(req, timestamps, values, NULL, 2), PRA_OK);
        assert_int_equal(pra_write_request_add_exemplar(req, labels, 1, 5, 0.25), PRA_OK);
        add_histogram(req);
    }
    assert_int_equal(pra_write_request_add_metadata(req, PRA_METRIC_GAUGE, (pra_str)STR("up"),
                                                    (pra_str)STR("whether it is up"),
                                                    (pra_str)STR("")),
                     PRA_OK);
    assert_int_equal(pra_write_request_encode(req, PRA_WRITE_V1, message, NULL), PRA_OK);
    pra_write_request_free(req);
    return compressed(message);
}

static pra_buffer *read_body(void)
{
    pra_read_request *req;
    pra_buffer *message;
    assert_int_equal(pra_read_request_new(NULL, &req), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &message), PRA_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pra_read_request_add_query(req, 0, 1000), PRA_OK);
        assert_int_equal(pra_read_request_add_matcher(req, PRA_MATCH_EQUAL,
                                                      (pra_str)STR("__name__"), (pra_str)STR("up")),
                         PRA_OK);
        assert_int_equal(pra_read_request_add_matcher(req, PRA_MATCH_REGEX, (pra_str)STR("job"),
                                                      (pra_str)STR("a|b|")),
                         PRA_OK);
    }
    assert_int_equal(pra_read_request_encode(req, message, NULL), PRA_OK);
    pra_read_request_free(req);
    return compressed(message);
}

/* ---- one storage in one universe */

struct fixture {
    struct memory memory;
    lua_State *L;
    pra_storage storage;
    pra_handler *handler;
    pra_exchange *x;
    size_t logged;
};

static void count_log(void *ctx, const char *entry, const char *text_cstr)
{
    (void)entry;
    assert_non_null(text_cstr);
    (*(size_t *)ctx)++;
}

struct script {
    const char *text;
    struct fixture *f;
};

static int open_module(lua_State *L)
{
    luaL_openlibs(L);
    luaL_requiref(L, "prom_remote_api.core", luaopen_prom_remote_api_core, 1);
    lua_setglobal(L, "core");
    return 0;
}

static int make_storage(lua_State *L)
{
    struct script *script = lua_touserdata(L, 1);
    pra__lua_log log = {&script->f->logged, count_log, NULL};
    lua_createtable(L, 0, 1);
    if (luaL_loadstring(L, script->text) != LUA_OK) {
        return lua_error(L);
    }
    lua_call(L, 0, 1);
    lua_setfield(L, -2, "storage");
    for (size_t i = 0; i < 2; i++) {
        static const char *const caps[] = {"max_memory", "max_instructions"};
        lua_getglobal(L, caps[i]);
        lua_setfield(L, -2, caps[i]);
    }
    pra__lua_storage_new(L, -1, &log, &script->f->storage);
    return 0;
}

static int protect(lua_State *L, lua_CFunction function, void *argument)
{
    int status = pra__lua_protect(L, function, argument);
    lua_settop(L, 0);
    return status;
}

static void set_up(struct fixture *f, const char *text)
{
    memset(f, 0, sizeof *f);
    never_fail(&f->memory);
    f->L = lua_newstate(allocate, &f->memory);
    assert_non_null(f->L);
    assert_int_equal(protect(f->L, open_module, NULL), LUA_OK);
    assert_int_equal(protect(f->L, make_storage, &(struct script){text, f}), LUA_OK);
    (void)pra__lua_enter(f->L);
    assert_int_equal(pra_handler_new(NULL, &f->storage, NULL, &f->handler, NULL), PRA_OK);
    assert_int_equal(pra_exchange_new(f->handler, NULL, &f->x), PRA_OK);
}

static void tear_down(struct fixture *f)
{
    pra_exchange_free(f->x);
    pra_handler_free(f->handler);
    lua_close(f->L);
    assert_int_equal(f->memory.live, 0);
}

static int32_t request(struct fixture *f, const char *target, pra_buffer *body)
{
    static const pra_header headers[] = {{STR("Content-Type"), STR("application/x-protobuf")},
                                         {STR("Content-Encoding"), STR("snappy")}};
    pra_request_head head = {.size = sizeof head,
                             .method = STR("POST"),
                             .target = {target, strlen(target)},
                             .headers = headers,
                             .header_count = 2};
    assert_int_equal(pra_exchange_begin(f->x, &head), PRA_OK);
    assert_int_equal(pra_exchange_feed(f->x, pra_buffer_data(body), pra_buffer_len(body)), PRA_OK);
    assert_int_equal(pra_exchange_end(f->x), PRA_OK);
    (void)pra_exchange_run(f->x);
    return pra_exchange_status(f->x);
}

static int collect_all(lua_State *L)
{
    (void)lua_gc(L, LUA_GCCOLLECT, 0);
    return lua_gc(L, LUA_GCCOLLECT, 0);
}

/* Entries of the registry. Numbers are luaL_ref's, which keeps those that it will give again. */
static size_t registered(lua_State *L)
{
    size_t count = 0;
    while (protect(L, collect_all, NULL) != LUA_OK) { /* before 5.4 a finalizer's error comes out */
    }
    for (lua_pushnil(L); lua_next(L, LUA_REGISTRYINDEX); lua_pop(L, 1)) {
        count += lua_type(L, -2) != LUA_TNUMBER;
    }
    return count;
}

/* A collection wherever one is possible. */
static void collect_always(struct fixture *f, const char *target, pra_buffer *body,
                           int32_t expected)
{
#if LUA_VERSION_NUM > 501
    f->memory.eager = 1;
    f->memory.refused = 0;
    assert_int_equal(request(f, target, body), expected);
    f->memory.eager = 0;
#endif
    (void)lua_gc(f->L, LUA_GCSETPAUSE, 0);
    (void)lua_gc(f->L, LUA_GCSETSTEPMUL, 100000);
    assert_int_equal(request(f, target, body), expected);
    (void)lua_gc(f->L, LUA_GCSETPAUSE, 200);
    (void)lua_gc(f->L, LUA_GCSETSTEPMUL, 200);
#if LUA_VERSION_NUM >= 504
    (void)lua_gc(f->L, LUA_GCGEN, 0, 0);
    assert_int_equal(request(f, target, body), expected);
    (void)lua_gc(f->L, LUA_GCINC, 0, 0, 0);
#endif
}

/* Fails every allocation of a request in turn until none is left to fail. */
static void torture(const char *text, const char *target, pra_buffer *body, int32_t expected)
{
    struct fixture f;
    set_up(&f, text);
    assert_int_equal(request(&f, target, body), expected);
    size_t before = registered(f.L);
    collect_always(&f, target, body, expected);
    for (int onward = 0; onward < 2; onward++) {
        size_t unavailable = 0, n = 0;
        for (;; n++) {
            int top = lua_gettop(f.L);
            fail_at(&f.memory, n, onward);
            int32_t status = request(&f, target, body);
            never_fail(&f.memory);
            if (status != expected) {
                assert_int_equal(status, 503);
                unavailable++;
            }
            assert_int_equal(lua_gettop(f.L), top);
            if (f.memory.failed == 0) {
                break;
            }
            assert_int_equal(request(&f, target, body), expected);
        }
        assert_true(n > 2);
        assert_true(!onward || unavailable > 2);
    }
    assert_int_equal(registered(f.L), before);
    tear_down(&f);
    pra_buffer_free(body);
}

/* ---- the callbacks */

static void test_write(void **state)
{
    (void)state;
    torture("return { histograms = true, write = function(ctx, request)\n"
            "  assert(#request.metadata == 1 and ctx.headers['content-encoding'] == 'snappy')\n"
            "  for series, number in request:series() do\n"
            "    local key = core.key(series.labels, ctx.tenant)\n"
            "    assert(series.labels.__name__ == 'up' and #series.timestamps == 2)\n"
            "    assert(#series.exemplars == 1 and #series.histograms == 1)\n"
            "    local bytes = core.histogram_encode(series.histograms[1])\n"
            "    assert(core.histogram_decode(bytes).sum == series.histograms[1].sum)\n"
            "  end\n"
            "end }",
            "/api/v1/write", write_body(), 204);
}

static void test_write_partly(void **state)
{
    (void)state;
    torture("return { write = function(ctx, request)\n"
            "  for _, number in request:series() do request:reject(number, 'no ' .. number) end\n"
            "end }",
            "/write", write_body(), 400);
}

static void test_write_error(void **state)
{
    (void)state;
    torture("return { write = function(ctx, request)\n"
            "  for series in request:series() do error('broken ' .. #series.values) end\n"
            "end }",
            "/api/v1/write", write_body(), 500);
}

static void test_write_error_object(void **state)
{
    (void)state;
    torture("return { write = function(ctx, request)\n"
            "  error(setmetatable({}, { __tostring = function() return 'told' end }))\n"
            "end }",
            "/api/v1/write", write_body(), 500);
}

static void test_write_reject(void **state)
{
    (void)state;
    torture("return { write = function(ctx, request)\n"
            "  return nil, setmetatable({ code = core.ERR_REJECT, status = 422, message = 'no' },\n"
            "    core.verdict)\n"
            "end }",
            "/api/v1/write", write_body(), 422);
}

/* Objects: of a request, and what stays of them from call to call. */
static void test_write_objects(void **state)
{
    (void)state;
    torture("local kept\n"
            "return { histograms = true, write = function(ctx, request)\n"
            "  for number, labels in request:labels() do assert(labels.__name__ == 'up') end\n"
            "  for number, name, value in request:each_label() do assert(#name > 0) end\n"
            "  assert(#request.values == request.sample_offsets[#request + 1])\n"
            "  assert(#request.timestamps:totable() == #request.values)\n"
            "  assert(#request.fingerprints == #request)\n"
            "  for series, number in request:series() do\n"
            "    for timestamp, value in series:samples() do assert(timestamp) end\n"
            "    assert(series:label('__name__') == 'up' and #series.fingerprint == 16)\n"
            "    assert(kept == nil or kept.series.labels.__name__ == 'up')\n"
            "    kept = { series = series, copy = request:copy(), values = request.values }\n"
            "  end\n"
            "  for _, labels in kept.copy:labels() do assert(labels.__name__ == 'up') end\n"
            "end }",
            "/api/v1/write", write_body(), 204);
}

static void test_write_build(void **state)
{
    (void)state;
    torture("return { histograms = true, write = function(ctx, request)\n"
            "  local relabel = core.relabel({ { source_labels = { '__name__' }, regex = '(u)p',\n"
            "    target_label = 'short' } })\n"
            "  assert(relabel:labels({ __name__ = 'up' }).short == 'u')\n"
            "  local out, dropped = request:relabel(relabel)\n"
            "  assert(dropped == 0 and #out == #request)\n"
            "  for series in request:series() do\n"
            "    assert(out:add(series, { __name__ = 'renamed' }))\n"
            "    assert(out:add { labels = { a = 'b' }, timestamps = series.timestamps,\n"
            "      values = { 1, 2 }, start_timestamps = { 0, 1 }, exemplars = series.exemplars,\n"
            "      histograms = series.histograms })\n"
            "  end\n"
            "  assert(out:add_metadata { type = 'gauge', family = 'renamed' })\n"
            "  local parts = out:split(3)\n"
            "  local again = core.decode(parts[1]:encode(2, true), 2, true)\n"
            "  assert(#again == #parts[1])\n"
            "  again = core.decode(parts[2]:encode(1, false), 1, false)\n"
            "  assert(#again == #parts[2])\n"
            "end }",
            "/api/v1/write", write_body(), 204);
}

/* Both forms of an answer, made while nothing fails. */
static void test_client(void **state)
{
    (void)state;
    torture("local query = { start_ms = 0, end_ms = 100000, hints = { grouping = { 'a' } },\n"
            "  matchers = { { type = '=', name = 'a', value = 'b' } } }\n"
            "local handler = core.Handler(nil, nil, false, core.Rules(), { storage = {\n"
            "  process_query = function(ctx, query, sink)\n"
            "    local timestamps = {}\n"
            "    for i = 1, 300 do timestamps[i] = i end\n"
            "    sink:add { labels = { a = 'b' }, timestamps = timestamps, values = timestamps }\n"
            "  end } })\n"
            "local function answer(...)\n"
            "  local x, pieces = core.Exchange(handler), {}\n"
            "  x:begin('POST', '/read', { ['Content-Type'] = 'application/x-protobuf',\n"
            "    ['Content-Encoding'] = 'snappy' }, '', '', core.ENDPOINT_AUTO)\n"
            "  x:feed(core.encode_queries({ query, query }, { ... }))\n"
            "  x:end_body()\n"
            "  x:run()\n"
            "  for piece in function() return (x:body()) end do pieces[#pieces + 1] = piece end\n"
            "  return table.concat(pieces)\n"
            "end\n"
            "local sampled, streamed = answer(0), answer(1)\n"
            "return { write = function(ctx, request)\n"
            "  assert(#core.encode_queries({ query }, { 0, 1 }) > 0)\n"
            "  local one, two = core.decode_answer(sampled, false), core.decode_answer(streamed, "
            "true)\n"
            "  assert(#one == 2 and #two == 2 and #one[1][1].values == 300)\n"
            "  assert(#two[2][1].values == 300 and #two[2] == 1)\n"
            "end }",
            "/api/v1/write", write_body(), 400);
}

static void test_query_sink(void **state)
{
    (void)state;
    torture("return { process_query = function(ctx, query, sink)\n"
            "  assert(#query.matchers == 2 and query.hints == nil)\n"
            "  local labels = { __name__ = 'up', instance = 'x' .. query.start_ms }\n"
            "  if query:matches(labels) then\n"
            "    sink:add { labels = labels, timestamps = { 1, 2 }, values = { 1, 2.5 } }\n"
            "  end\n"
            "end }",
            "/api/v1/read", read_body(), 200);
}

static void test_query_histograms(void **state)
{
    (void)state;
    torture("return { process_query = function(ctx, query, sink)\n"
            "  local h = { timestamp = 3, count = 3, sum = 1, positive_buckets = { 1, 2 },\n"
            "    positive_spans = { { offset = 0, length = 2 } }, reset_hint = 'gauge' }\n"
            "  local f = { timestamp = 4, count = 3.0, sum = 1, negative_buckets = { 1, 2 },\n"
            "    negative_spans = { { offset = 0, length = 2 } } }\n"
            "  sink:add { labels = { a = 'b' }, timestamps = { 1 }, values = { 1 },\n"
            "    histograms = { h, f } }\n"
            "end }",
            "/api/v1/read", read_body(), 200);
}

static void test_query_wrong_histogram(void **state)
{
    (void)state;
    torture(
        "return { process_query = function(ctx, query)\n"
        "  return { { labels = { a = 'b' }, timestamps = {}, values = {}, histograms = {\n"
        "    { timestamp = 3, count = 0, sum = 1 }, { timestamp = 4, count = 3, sum = 1 } } } }\n"
        "end }",
        "/api/v1/read", read_body(), 500);
}

static void test_query_many_labels(void **state)
{
    (void)state;
    torture("return { process_query = function(ctx, query)\n"
            "  local labels = {}\n"
            "  for i = 1, 100 do labels['n' .. i] = 'v' .. i end\n"
            "  return { { labels = labels, timestamps = { 1, 2 }, values = { 1, 2.5 } } }\n"
            "end }",
            "/api/v1/read", read_body(), 200);
}

static void test_query_iterator(void **state)
{
    (void)state;
    torture(
        "return { process_query = function(ctx, query)\n"
        "  return coroutine.wrap(function()\n"
        "    for i = 1, 3 do\n"
        "      coroutine.yield { labels = { a = tostring(i) }, timestamps = { i }, values = { i } "
        "}\n"
        "    end\n"
        "  end)\n"
        "end }",
        "/api/v1/read", read_body(), 200);
}

static void test_query_iterator_error(void **state)
{
    (void)state;
    torture("return { process_query = function(ctx, query)\n"
            "  return coroutine.wrap(function()\n"
            "    coroutine.yield { labels = { a = 'b' }, timestamps = { 1 }, values = { 1 } }\n"
            "    error { 'broken' }\n"
            "  end)\n"
            "end }",
            "/api/v1/read", read_body(), 500);
}

static void test_query_wrong_series(void **state)
{
    (void)state;
    torture("return { process_query = function(ctx, query)\n"
            "  return { { labels = { a = 'b' }, timestamps = { 1 }, values = {} } }\n"
            "end }",
            "/api/v1/read", read_body(), 500);
}

static void test_read(void **state)
{
    (void)state;
    torture("return { read = function(ctx, queries, sinks)\n"
            "  local labels = { __name__ = 'up' }\n"
            "  for i, query in ipairs(queries) do\n"
            "    assert(query:matches(labels))\n"
            "    sinks[i]:add { labels = labels, timestamps = { i }, values = { i } }\n"
            "  end\n"
            "  return { { { labels = { a = 'b' }, timestamps = { 1 }, values = { 1 } } } }\n"
            "end }",
            "/api/v1/read", read_body(), 200);
}

static void test_write_exemplars(void **state)
{
    (void)state;
    torture("return { histograms = true, exemplars = true, write = function(ctx, request)\n"
            "  local kept = request:copy()\n"
            "  assert(#kept == 3 and #kept.timestamps == 6 and kept.values[2] == 1.5)\n"
            "  for series in request:series() do\n"
            "    assert(series.exemplars[1].value == 0.25 and series.histograms[1].sum == 2.5)\n"
            "    assert(series:label 'path' == series.labels.path and series.timestamps[2] == 2)\n"
            "  end\n"
            "  assert(#kept:encode(1, true) > 0)\n"
            "end }",
            "/api/v1/write", write_body(), 204);
}

static void test_write_retry(void **state)
{
    (void)state;
    torture("return { write = function(ctx, request)\n"
            "  error(setmetatable({ code = core.ERR_RETRY, status = 429, after = 3,\n"
            "    message = 'busy ' .. #request }, core.verdict))\n"
            "end }",
            "/api/v1/write", write_body(), 429);
}

static void test_query_again(void **state)
{
    (void)state;
    torture("local kept\n"
            "return { process_query = function(ctx, query, sink)\n"
            "  local h = { timestamp = 3, count = 3, sum = 1, positive_buckets = { 1, 2 },\n"
            "    positive_spans = { { offset = 0, length = 2 } } }\n"
            "  sink:add(setmetatable({}, { __index = function(_, name)\n"
            "    if name == 'labels' then return { a = 'c' } end\n"
            "    if name == 'timestamps' or name == 'values' then return { 1, 2 } end\n"
            "    if name == 'histograms' then return { h } end\n"
            "  end }))\n"
            "  return coroutine.wrap(function()\n"
            "    for i = 1, 3 do\n"
            "      coroutine.yield { labels = { a = 'b' .. i }, timestamps = {}, values = {},\n"
            "        histograms = { h } }\n"
            "    end\n"
            "  end)\n"
            "end }",
            "/api/v1/read", read_body(), 200);
}

/* Errors are raised from all places that run a script's code. */
static void test_error_places(void **state)
{
    static const struct {
        const char *text;
        int read;
        int32_t status;
    } cases[] = {
        {"return { write = function() error() end }", 0, 500},
        {"return { write = function() error(nil) end }", 0, 500},
        {"return { write = function() error(setmetatable({}, { __tostring = error })) end }", 0,
         500},
        {"return { write = function() error(setmetatable({}, { __tostring = function() return {} "
         "end })) end }",
         0, 500},
        {"return { write = function() coroutine.wrap(function() error 'x' end)() end }", 0, 500},
        {"return { write = function() coroutine.yield() end }", 0, 500},
        {"return { write = setmetatable({}, { __call = error }) and function(_, r)\n"
         "  r:reject(r, r) end }",
         0, 500},
        {"return { process_query = function() return function() error 'x' end end }", 1, 500},
        {"return { process_query = function() return function() return 7 end end }", 1, 500},
        {"return { process_query = function() return { 7 } end }", 1, 500},
        {"return { process_query = function() return 7 end }", 1, 500},
        {"return { process_query = function(_, q) q:matches(setmetatable({}, { __index = error,\n"
         "  __pairs = error })) return { setmetatable({}, { __index = error }) } end }",
         1, 500},
        {"return { process_query = function(_, q, sink)\n"
         "  sink:add { labels = { a = {} }, timestamps = { 1 }, values = { 1 } } end }",
         1, 500},
        {"return { process_query = function(_, q, sink)\n"
         "  sink:add { labels = { a = 'b' }, timestamps = { 'x' }, values = { 1 } } end }",
         1, 500},
        {"return { read = function(_, queries, sinks)\n"
         "  return { function() error(setmetatable({ code = core.ERR_REJECT, message = 'no' },\n"
         "    core.verdict)) end } end }",
         1, 400},
        {"return { read = function(_, queries, sinks)\n"
         "  sinks[1], sinks[2] = nil, nil collectgarbage() return { 1 } end }",
         1, 500},
    };
    (void)state;
    pra_buffer *bodies[] = {write_body(), read_body()};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *target = cases[i].read ? "/read" : "/write";
        struct fixture f;
        set_up(&f, cases[i].text);
        for (int round = 0; round < 3; round++) {
            int32_t status = request(&f, target, bodies[cases[i].read]);
            if (status != cases[i].status) {
                fail_msg("%d, not %d: %s", status, cases[i].status, cases[i].text);
            }
        }
        size_t before = registered(f.L);
        collect_always(&f, target, bodies[cases[i].read], cases[i].status);
        assert_int_equal(registered(f.L), before);
        tear_down(&f);
    }
    pra_buffer_free(bodies[0]);
    pra_buffer_free(bodies[1]);
}

/* Before 5.4 errors of finalizers come out wherever garbage is collected. */
static void test_finalizers_that_fail(void **state)
{
    (void)state;
    struct fixture f;
    pra_buffer *body = write_body();
    set_up(&f, "local f = function() error 'in a finalizer' end\n"
               "return { histograms = true, write = function(_, request)\n"
               "  for series in request:series() do\n"
               "    for i = 1, 50 do setmetatable({}, { __gc = f }) end\n"
               "    assert(series.labels.path)\n"
               "  end\n"
               "end }");
    lua_gc(f.L, LUA_GCSETPAUSE, 0);
    for (size_t n = 0; n < 300; n++) {
        fail_at(&f.memory, n, n % 2 != 0);
        int32_t status = request(&f, "/write", body);
        never_fail(&f.memory);
        assert_true(status == 204 || status == 503 || (status == 500 && LUA_VERSION_NUM < 504));
    }
    while (protect(f.L, collect_all, NULL) != LUA_OK) {
    }
    pra_buffer_free(body);
    tear_down(&f);
}

/* The function log of a storage may fail as well. */
static int make_logging_storage(lua_State *L)
{
    static const char text[] =
        "return { log = function(text) logged = (logged or 0) + 1 error(text) end,\n"
        "  storage = { write = function() error 'x' end, close = function() error 'y' end } }";
    struct fixture *f = lua_touserdata(L, 1);
    if (luaL_loadstring(L, text) != LUA_OK) {
        return lua_error(L);
    }
    lua_call(L, 0, 1);
    pra__lua_storage_new(L, -1, NULL, &f->storage);
    return 0;
}

static void test_log_that_fails(void **state)
{
    (void)state;
    struct fixture f;
    pra_buffer *body = write_body();
    set_up(&f, "return { write = function() end }");
    pra_exchange_free(f.x);
    pra_handler_free(f.handler);
    assert_int_equal(protect(f.L, make_logging_storage, &f), LUA_OK);
    assert_int_equal(pra_handler_new(NULL, &f.storage, NULL, &f.handler, NULL), PRA_OK);
    assert_int_equal(pra_exchange_new(f.handler, NULL, &f.x), PRA_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(request(&f, "/write", body), 500);
    }
    pra__lua_storage_close(&f.storage);
    lua_getglobal(f.L, "logged");
    assert_int_equal(lua_tonumber(f.L, -1), 4);
    lua_pop(f.L, 1);
    pra_buffer_free(body);
    tear_down(&f);
}

/* Callbacks on a coroutine of the script's own. */
static void test_coroutine_as_caller(void **state)
{
    (void)state;
    struct fixture f;
    pra_buffer *body = write_body();
    set_up(&f,
           "return { histograms = true, write = function(_, r) assert(#r == 3) error 'x' end }");
    lua_State *thread = lua_newthread(f.L);
    lua_State *previous = pra__lua_enter(thread);
    for (size_t n = 0;; n++) {
        fail_at(&f.memory, n, 1);
        int32_t status = request(&f, "/write", body);
        never_fail(&f.memory);
        assert_true(status == 500 || status == 503);
        assert_int_equal(lua_gettop(thread), 0);
        if (f.memory.failed == 0) {
            break;
        }
    }
    pra__lua_leave(thread, previous);
    lua_pop(f.L, 1);
    pra_buffer_free(body);
    tear_down(&f);
}

/* ---- caps */

static void limit(struct fixture *f, const char *text)
{
    set_up(f, "return { write = function() end }");
    pra_exchange_free(f->x);
    pra_handler_free(f->handler);
    pra__lua_meter_attach(f->L);
    struct script script = {text, f};
    assert_int_equal(protect(f->L, make_storage, &script), LUA_OK);
    assert_int_equal(pra_handler_new(NULL, &f->storage, NULL, &f->handler, NULL), PRA_OK);
    assert_int_equal(pra_exchange_new(f->handler, NULL, &f->x), PRA_OK);
}

/* With caps that are wide enough all is as before; what was held back is given again. */
static void test_caps(void **state)
{
    (void)state;
    struct fixture f;
    pra_buffer *body = write_body();
    limit(&f, "max_memory, max_instructions = 1e6, 1e5\n"
              "local count = 0\n"
              "return { histograms = true, write = function(_, request)\n"
              "  count = count + 1\n"
              "  if count % 3 == 0 then while true do pcall(function() while true do end end) end\n"
              "  elseif count % 3 == 1 then\n"
              "    local t = {}\n"
              "    for i = 1, 1e9 do t[i] = ('x'):rep(100) .. i end\n"
              "  end\n"
              "end }");
    for (int i = 1; i < 10; i++) {
        assert_int_equal(request(&f, "/write", body), i % 3 == 2 ? 204 : 503);
    }
    for (size_t n = 0;; n++) {
        fail_at(&f.memory, n, 0);
        int32_t status = request(&f, "/write", body);
        never_fail(&f.memory);
        assert_true(status == 204 || status == 503);
        if (n > 200) {
            break;
        }
    }
    pra__lua_meter_detach(f.L);
    pra_buffer_free(body);
    tear_down(&f);
}

/* A script that uses up all memory itself. */
static void test_greedy(void **state)
{
    (void)state;
    struct fixture f;
    pra_buffer *body = write_body();
    set_up(&f, "return { write = function()\n"
               "  local t = {}\n"
               "  for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end\n"
               "end }");
    for (int i = 0; i < 3; i++) {
        fail_at(&f.memory, 2000, 1);
        assert_int_equal(request(&f, "/write", body), 503);
        never_fail(&f.memory);
    }
    assert_int_equal(f.logged, 3);
    pra_buffer_free(body);
    tear_down(&f);
}

/* Opening the module and making a storage fail cleanly too. */
static void test_creation(void **state)
{
    (void)state;
    for (size_t n = 0;; n++) {
        struct fixture f = {.L = NULL};
        never_fail(&f.memory);
        f.L = lua_newstate(allocate, &f.memory);
        assert_non_null(f.L);
        struct script script = {"return { write = function() end }", &f};
        fail_at(&f.memory, n, 1);
        int status = protect(f.L, open_module, NULL);
        if (status == LUA_OK) {
            status = protect(f.L, make_storage, &script);
        }
        never_fail(&f.memory);
        if (f.storage.vtbl) {
            f.storage.vtbl->destroy(f.storage.self);
        }
        lua_close(f.L);
        assert_int_equal(f.memory.live, 0);
        if (f.memory.failed == 0) {
            assert_int_equal(status, LUA_OK);
            return;
        }
        /* before 5.4 the libraries raise it again as any other error */
        assert_true(LUA_VERSION_NUM < 504 ? status != LUA_OK : status == LUA_ERRMEM);
    }
}

/* A callback after its universe stopped serving. */
static void test_late(void **state)
{
    (void)state;
    struct fixture f;
    pra_buffer *body = write_body();
    set_up(&f, "return { histograms = true, write = function() end }");
    assert_int_equal(request(&f, "/write", body), 204);
    pra__lua_leave(f.L, NULL);
    assert_int_equal(request(&f, "/write", body), 503);
    pra_buffer_free(body);
    tear_down(&f);
}

/* Without an answer of the matchers a script must not go on as if nothing matched. */
static void test_no_answer_of_a_matcher(void **state)
{
    (void)state;
    struct fixture f;
    const pra_str name = STR("a");
    pra_read_request *request;
    pra_series_sink *sink;
    pra_error err = {0};
    set_up(&f, "return { process_query = function(ctx, query) query:matches { a = 'b' } end }");
    assert_int_equal(pra_read_request_new(NULL, &request), PRA_OK);
    assert_int_equal(pra_read_request_add_query(request, 0, 1), PRA_OK);
    assert_int_equal(pra_read_request_add_matcher(request, PRA_MATCH_EQUAL, name, name),
                     PRA_OK); /* not compiled */
    assert_int_equal(pra_series_sink_new(NULL, 0, 1, NULL, &sink), PRA_OK);
    assert_int_equal(f.storage.vtbl->process_query(f.storage.self, NULL,
                                                   pra_read_request_query(request, 0), sink, &err),
                     PRA_ERR_USER);
    pra_series_sink_free(sink);
    pra_read_request_free(request);
    tear_down(&f);
}

/* ---- the library's own memory fails while a script runs */

struct reader {
    struct fixture *f;
    struct script script;
    pra_buffer *body;
};

static int answer(pra_exchange *x)
{
    const void *piece;
    size_t len;
    int code = pra_exchange_run(x);
    int32_t status = pra_exchange_status(x);
    while (code == PRA_OK) {
        code = pra_exchange_body(x, &piece, &len);
    }
    assert_true(status == 200 || status == 503);
    return status == 200 && code == PRA_DONE ? PRA_OK : PRA_ERR_NOMEM;
}

static int ask(pra_exchange *x, pra_buffer *body)
{
    pra_request_head head = {
        .size = sizeof head, .method = STR("POST"), .target = STR("/api/v1/read")};
    int code = pra_exchange_begin(x, &head);
    if (code == PRA_OK) {
        code = pra_exchange_feed(x, pra_buffer_data(body), pra_buffer_len(body));
    }
    if (code == PRA_OK) {
        code = pra_exchange_end(x);
    }
    return code == PRA_OK ? answer(x) : PRA_ERR_NOMEM;
}

static int read_once(struct failing_alloc *alloc, void *arg)
{
    struct reader *r = arg;
    pra_handler *handler = NULL;
    pra_exchange *x = NULL;
    assert_int_equal(protect(r->f->L, make_storage, &r->script), LUA_OK);
    int code = pra_handler_new(&alloc->alloc, &r->f->storage, NULL, &handler, NULL);
    if (code == PRA_OK) {
        code = pra_exchange_new(handler, NULL, &x);
    }
    if (code == PRA_OK) {
        code = ask(x, r->body);
    }
    pra_exchange_free(x);
    pra_handler_free(handler);
    return code;
}

static void test_library_memory(void **state)
{
    (void)state;
    static const char text[] =
        "return { process_query = function(ctx, query, sink)\n"
        "  for i = 1, 3 do\n"
        "    local labels = { __name__ = 'up', long = ('x'):rep(1000) .. i }\n"
        "    if query:matches(labels) then\n"
        "      sink:add { labels = labels, timestamps = { 3, 2, 1 }, values = { 1, 2, 3 },\n"
        "        histograms = { { timestamp = 4, count = 0, sum = 0 } } }\n"
        "    end\n"
        "  end\n"
        "end }";
    struct fixture f;
    set_up(&f, text);
    struct reader r = {&f, {text, &f}, read_body()};
    pra_storage first = f.storage;
    const char *wrong = failing_alloc_loop(read_once, &r);
    assert_string_equal(wrong ? wrong : "", "");
    f.storage = first;
    pra_buffer_free(r.body);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_partly),
        cmocka_unit_test(test_write_error),
        cmocka_unit_test(test_write_error_object),
        cmocka_unit_test(test_write_reject),
        cmocka_unit_test(test_write_objects),
        cmocka_unit_test(test_write_build),
        cmocka_unit_test(test_client),
        cmocka_unit_test(test_query_sink),
        cmocka_unit_test(test_query_histograms),
        cmocka_unit_test(test_query_wrong_histogram),
        cmocka_unit_test(test_query_many_labels),
        cmocka_unit_test(test_query_iterator),
        cmocka_unit_test(test_query_iterator_error),
        cmocka_unit_test(test_query_wrong_series),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_write_exemplars),
        cmocka_unit_test(test_write_retry),
        cmocka_unit_test(test_query_again),
        cmocka_unit_test(test_error_places),
        cmocka_unit_test(test_finalizers_that_fail),
        cmocka_unit_test(test_log_that_fails),
        cmocka_unit_test(test_coroutine_as_caller),
        cmocka_unit_test(test_caps),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_creation),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_no_answer_of_a_matcher),
        cmocka_unit_test(test_library_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
