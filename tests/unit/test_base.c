/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/limits.h"
#include "pra.h"

static void error_struct_and_leaves_have_their_frozen_layout(void **state)
{
    (void)state;
    assert_int_equal(sizeof(pra_error), 256);
    assert_int_equal(sizeof(pra_histogram), 128);
    assert_int_equal(sizeof(pra_span), 8);
    assert_int_equal(sizeof(pra_label_span), 16);
    assert_int_equal(sizeof(pra_metadata), 32);
}

static void error_message_is_one_line_of_whole_characters(void **state)
{
    (void)state;
    pra_error err = {0};
    char text[300];
    const size_t most = sizeof(err.message) - 1;
    memset(text, 'a', sizeof(text));
    memcpy(text + most - 2, "\xE2\x82\xAC", 3); /* cut after two of its three bytes */
    text[5] = '\n';
    text[6] = 0;
    assert_int_equal(pra_error_set(&err, PRA_ERR_RETRY, (pra_str){text, sizeof(text)}),
                     PRA_ERR_RETRY);
    assert_int_equal(strlen(err.message), most - 2);
    assert_int_equal(err.message[5], ' ');
    assert_int_equal(err.message[6], ' ');
    assert_int_equal(err.http_status, 503);
    memcpy(text + most - 3, "\xE2\x82\xAC", 3); /* just fits */
    pra_error_set(&err, PRA_ERR_RETRY, (pra_str){text, sizeof(text)});
    assert_int_equal(strlen(err.message), most);
    assert_int_equal(pra__error(NULL, PRA_ERR_PROTO, 7, "x"), PRA_ERR_PROTO);
}

static void every_code_has_a_name_and_a_status(void **state)
{
    (void)state;
    assert_int_equal(pra_http_status(PRA_OK), 204);
    assert_int_equal(pra_http_status(PRA_ERR_CONTENT_TYPE), 415);
    assert_int_equal(pra_http_status(PRA_ERR_BODY_TOO_LARGE), 413);
    assert_int_equal(pra_http_status(-5), 500);
    assert_string_equal(pra_error_name(PRA_ERR_SNAPPY_RATIO), "snappy_ratio");
    assert_string_equal(pra_strerror(-5), "unknown error");
    assert_string_equal(pra_error_name(PRA_ERR_CORRUPT), "corrupt");
}

static void arena_gives_aligned_memory_up_to_its_bound(void **state)
{
    (void)state;
    pra_arena *arena;
    assert_int_equal(pra_arena_new(NULL, 100000, &arena), PRA_OK);
    for (int round = 0; round < 3; round++) {
        size_t total = 0;
        for (size_t size = 1; total + size <= 100000; size = size * 2 + 1) {
            char *p = pra_arena_alloc(arena, size, 16);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % 16, 0);
            memset(p, 0xEE, size);
            total += size;
        }
        assert_int_equal(pra_arena_used(arena), total);
        assert_null(pra_arena_alloc(arena, 100001 - total, 1));
        assert_null(pra_arena_alloc(arena, SIZE_MAX, 1));
        assert_null(pra_arena_alloc(arena, 1, 3));
        pra_arena_reset(arena);
        assert_int_equal(pra_arena_used(arena), 0);
    }
    pra_arena_free(arena);
}

static void buffer_grows_and_keeps_its_bytes(void **state)
{
    (void)state;
    pra_buffer *buf;
    assert_int_equal(pra_buffer_new(NULL, &buf), PRA_OK);
    assert_null(pra_buffer_data(buf));
    for (int i = 0; i < 1000; i++) {
        char byte = (char)i;
        assert_int_equal(pra_buffer_append(buf, &byte, 1), PRA_OK);
    }
    assert_int_equal(pra_buffer_len(buf), 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(((const char *)pra_buffer_data(buf))[i], (char)i);
    assert_int_equal(pra__buffer_reserve(buf, SIZE_MAX), PRA_ERR_NOMEM);
    pra_buffer_reset(buf);
    assert_int_equal(pra_buffer_len(buf), 0);
    pra_buffer_free(buf);
    pra_buffer_free(NULL);
}

static void options_of_any_age_are_read_within_their_size(void **state)
{
    (void)state;
    pra_limits full;
    for (size_t size = sizeof(size_t); size <= sizeof(pra_limits); size += sizeof(uint64_t)) {
        pra_limits *old = test_malloc(size); /* exact: an over-read is seen by ASan */
        assert_int_equal(pra_limits_init(old, size), PRA_OK);
        assert_int_equal(pra__limits_resolve(old, &full), PRA_OK);
        assert_int_equal(full.max_decoded_bytes, 32 << 20);
        test_free(old);
    }
    struct {
        pra_limits known;
        uint64_t unknown;
    } newer = {.known = {.size = sizeof(newer), .max_queries = 3}};
    assert_int_equal(pra__limits_resolve(&newer.known, &full), PRA_OK);
    assert_int_equal(full.max_queries, 3);
    newer.unknown = 1;
    assert_int_equal(pra__limits_resolve(&newer.known, &full), PRA_ERR_UNSUPPORTED_OPTION);
    newer.known.size = 4;
    assert_int_equal(pra__limits_resolve(&newer.known, &full), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_limits_init(&newer.known, 4), PRA_ERR_INVALID_ARG);
}

static void stale_marker_is_told_by_its_bits(void **state)
{
    (void)state;
    const uint64_t bits[] = {PRA_STALE_NAN_BITS, PRA_NORMAL_NAN_BITS, 0};
    double values[3];
    memcpy(values, bits, sizeof(bits));
    assert_int_equal(pra_is_stale(&values[0]), 1);
    assert_int_equal(pra_is_stale(&values[1]), 0);
    assert_int_equal(pra_is_stale(&values[2]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_struct_and_leaves_have_their_frozen_layout),
        cmocka_unit_test(error_message_is_one_line_of_whole_characters),
        cmocka_unit_test(every_code_has_a_name_and_a_status),
        cmocka_unit_test(arena_gives_aligned_memory_up_to_its_bound),
        cmocka_unit_test(buffer_grows_and_keeps_its_bytes),
        cmocka_unit_test(options_of_any_age_are_read_within_their_size),
        cmocka_unit_test(stale_marker_is_told_by_its_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
