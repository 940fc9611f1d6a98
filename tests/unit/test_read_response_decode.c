/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pra.h"
#include "support/events.h"
#include "support/failing_alloc.h"
#include "support/message_gen.h"
#include "support/text.h"

static pra_read_response *new_response(void)
{
    pra_read_response *resp;
    assert_int_equal(pra_read_response_new(NULL, &resp), PRA_OK);
    return resp;
}

static struct text events_of(const pra_read_response *resp)
{
    struct text t = {0};
    text_bytes(&t, "", 0);
    events_read_response(&t, resp);
    return t;
}

struct row {
    const char *hex;
    const char *events;
};

static const struct row rows[] = {
    {"", ""},
    {"0a00", "result\n"},
    {"0a00 0a02 0a00 0a00", "result\nresult\nseries\nresult\n"},
    {"0a 14 0a 0a 0a060a0161120162 1200 0a 06 1204 1007 1801",
     "result\nseries\n  label \"a\"=\"b\"\n  sample 0 0x0\nseries\n  sample 7 0x0\n"},
    /* unknown fields and groups on every level */
    {"1001 7b7c 0a 08 1b1c 0a 04 3b 1001 3c", "result\nseries\n"},
    {"0800", "proto"},
    {"0a 02 0800", "proto"},
    {"0a 03 0a 02 00", "proto"},
    {"0a", "proto"},
};

static void messages_and_what_they_mean(void **state)
{
    pra_read_response *resp = new_response();
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text t = text_of_hex(rows[i].hex);
        pra_error err = {0};
        int rc = pra_read_response_decode(resp, t.data, t.len, NULL, &err);
        struct text got = events_of(resp);
        if (rc)
            text_printf(&got, "%s", pra_error_name(rc));
        assert_string_equal(got.data, rows[i].events);
        assert_int_equal(err.code, rc);
        text_free(&got);
        text_free(&t);
    }
    pra_read_response_free(resp);
}

static void offsets_are_there_without_results(void **state)
{
    pra_read_response *resp = new_response();
    const uint32_t *offsets = NULL;
    pra_columns c = {.size = sizeof(c)};
    (void)state;
    assert_int_equal(pra_read_response_results(resp, &offsets), 0);
    assert_int_equal(offsets[0], 0);
    struct text t = text_of_hex("0a04 0a00 0a00 0a00");
    assert_int_equal(pra_read_response_decode(resp, t.data, t.len, NULL, NULL), PRA_OK);
    assert_int_equal(pra_read_response_results(resp, &offsets), 2);
    assert_int_equal(offsets[1], 2);
    assert_int_equal(offsets[2], 2);
    assert_int_equal(pra_read_response_columns(resp, &c), PRA_OK);
    assert_int_equal(c.series_count, 2);
    pra_read_response_free(resp);
    text_free(&t);
}

/* A store's answer, as the client reads it: every bit of the values, in order [W-42]. */
static void what_a_sink_encodes_is_what_is_read(void **state)
{
    enum { COUNT = 1000 };
    static int64_t timestamps[COUNT];
    static double values[COUNT];
    const pra_label labels[] = {{{"__name__", 8}, {"up", 2}}, {{"job", 3}, {"\xc3\xa9", 2}}};
    pra_series_sink *sinks[2];
    pra_buffer *out, *block;
    pra_read_response *resp = new_response();
    pra_columns c = {.size = sizeof(c)};
    const uint32_t *offsets;
    uint64_t random = 3;
    (void)state;
    for (int64_t i = 0; i < COUNT; i++) {
        uint64_t bits = i % 5 == 0   ? PRA_STALE_NAN_BITS
                        : i % 7 == 0 ? UINT64_C(1) << 63
                                     : random_next(&random);
        memcpy(&values[i], &bits, sizeof(bits));
        timestamps[i] = i * i * i * i * i - 1000000; /* ascending, from negative to large */
    }
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &block), PRA_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pra_series_sink_new(NULL, INT64_MIN, INT64_MAX, NULL, &sinks[i]), PRA_OK);
    assert_int_equal(pra_series_sink_add(sinks[1], labels, 2, timestamps, values, COUNT, NULL),
                     PRA_OK);
    assert_int_equal(pra_read_response_encode((const pra_series_sink *const *)sinks, 2, out, NULL),
                     PRA_OK);
    assert_int_equal(pra_snappy_compress(pra_buffer_data(out), pra_buffer_len(out), block, NULL),
                     PRA_OK);
    assert_int_equal(pra_read_response_decode_snappy(resp, pra_buffer_data(block),
                                                     pra_buffer_len(block), NULL, NULL),
                     PRA_OK);
    assert_int_equal(pra_read_response_results(resp, &offsets), 2);
    assert_int_equal(offsets[1], 0);
    assert_int_equal(offsets[2], 1);
    assert_int_equal(pra_read_response_columns(resp, &c), PRA_OK);
    assert_int_equal(c.label_count, 2);
    assert_int_equal(c.sample_count, COUNT);
    assert_memory_equal(c.timestamps_ms, timestamps, sizeof(timestamps));
    assert_memory_equal(c.values, values, sizeof(values));
    for (int i = 0; i < 2; i++)
        pra_series_sink_free(sinks[i]);
    pra_buffer_free(out);
    pra_buffer_free(block);
    pra_read_response_free(resp);
}

static void bombs_stay_within_the_budget(void **state)
{
    enum { BUDGET = 4 << 20, COUNT = 1 << 20 };
    struct text t = {0};
    struct failing_alloc f;
    pra_read_response *resp;
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = BUDGET};
    pra_error err = {0};
    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        text_bytes(&t, "\x0a\0", 2);
    failing_alloc_init(&f);
    assert_int_equal(pra_read_response_new(&f.alloc, &resp), PRA_OK);
    size_t before = f.live;
    assert_int_equal(pra_read_response_decode(resp, t.data, t.len, &limits, &err),
                     PRA_ERR_MEMORY_BUDGET);
    assert_true(f.peak - before <= BUDGET);
    pra_read_response_free(resp);
    assert_int_equal(f.live, 0);
    text_free(&t);
}

static int decode_all(struct failing_alloc *f, void *arg)
{
    const struct text *block = arg;
    pra_read_response *resp = NULL;
    int rc = pra_read_response_new(&f->alloc, &resp);
    if (rc == PRA_OK)
        rc = pra_read_response_decode_snappy(resp, block->data, block->len, NULL, NULL);
    pra_read_response_free(resp);
    return rc;
}

static void running_out_of_memory_leaves_nothing(void **state)
{
    struct message_gen g = {.random = 12, .groups = 0};
    struct text message = {0}, block = {0};
    pra_buffer *out;
    (void)state;
    for (int i = 0; i < 60; i++)
        gen_read_response(&g, &message);
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_snappy_compress(message.data, message.len, out, NULL), PRA_OK);
    text_bytes(&block, pra_buffer_data(out), pra_buffer_len(out));
    const char *wrong = failing_alloc_loop(decode_all, &block);
    if (wrong)
        fail_msg("%s", wrong);
    pra_buffer_free(out);
    text_free(&block);
    text_free(&message);
}

static void wrong_arguments_are_refused(void **state)
{
    pra_read_response *resp = new_response();
    (void)state;
    assert_int_equal(pra_read_response_decode(resp, NULL, 1, NULL, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_read_response_decode(NULL, "", 0, NULL, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_read_response_decode_snappy(resp, "", 0, NULL, NULL), PRA_ERR_SNAPPY);
    assert_int_equal(pra_read_response_columns(resp, NULL), PRA_ERR_INVALID_ARG);
    pra_read_response_free(resp);
    pra_read_response_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_and_what_they_mean),
        cmocka_unit_test(offsets_are_there_without_results),
        cmocka_unit_test(what_a_sink_encodes_is_what_is_read),
        cmocka_unit_test(bombs_stay_within_the_budget),
        cmocka_unit_test(running_out_of_memory_leaves_nothing),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
