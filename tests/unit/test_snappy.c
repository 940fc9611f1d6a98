/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pra.h"
#include "support/failing_alloc.h"
#include "support/text.h"

/* The C++ heap, from which snappy's compressor takes its working memory: operator new and delete of
 * this program, of which new fails on demand as the standard says it does. */
#define CXX_HEAP __attribute__((visibility("default")))
CXX_HEAP void *_Znwm(size_t size);
CXX_HEAP void _ZdlPv(void *ptr);
CXX_HEAP void _ZdlPvm(void *ptr, size_t size);
void _ZSt17__throw_bad_allocv(void) __attribute__((noreturn));

static int cxx_heap_is_empty;

void *_Znwm(size_t size)
{
    void *ptr = cxx_heap_is_empty ? NULL : malloc(size ? size : 1);
    if (!ptr)
        _ZSt17__throw_bad_allocv();
    return ptr;
}

void _ZdlPv(void *ptr)
{
    free(ptr);
}

void _ZdlPvm(void *ptr, size_t size)
{
    (void)size;
    free(ptr);
}

static void round_trip(const struct text *t)
{
    pra_buffer *packed, *back;
    pra_error err = {0};
    assert_int_equal(pra_buffer_new(NULL, &packed), PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &back), PRA_OK);
    assert_int_equal(pra_snappy_compress(t->data, t->len, packed, &err), PRA_OK);
    assert_int_equal(
        pra_snappy_uncompress(pra_buffer_data(packed), pra_buffer_len(packed), NULL, back, &err),
        PRA_OK);
    assert_int_equal(pra_buffer_len(back), t->len);
    if (t->len)
        assert_memory_equal(pra_buffer_data(back), t->data, t->len);
    pra_buffer_free(packed);
    pra_buffer_free(back);
}

static void what_is_compressed_comes_back(void **state)
{
    uint64_t random = 1;
    (void)state;
    for (size_t i = 0; i < 40; i++) {
        struct text t = {0};
        size_t len = i * i * 37;
        for (size_t j = 0; j < len; j++) /* from runs to noise */
            text_bytes(&t, &(char){(char)random_below(&random, 1 + i * 6)}, 1);
        round_trip(&t);
        text_free(&t);
    }
}

/* Refuses hex without taking memory; returns the code. */
static int refusal(const char *hex, const pra_limits *limits, pra_error *err)
{
    struct failing_alloc f;
    pra_buffer *out;
    struct text t = text_of_hex(hex);
    failing_alloc_init(&f);
    assert_int_equal(pra_buffer_new(&f.alloc, &out), PRA_OK);
    size_t before = f.calls;
    int rc = pra_snappy_uncompress(t.data, t.len, limits, out, err);
    if (rc != PRA_ERR_SNAPPY)
        assert_int_equal(f.calls, before);
    assert_int_equal(pra_buffer_len(out), 0);
    pra_buffer_free(out);
    text_free(&t);
    return rc;
}

static void false_lengths_are_refused_before_memory_is_taken(void **state)
{
    pra_error err = {0};
    (void)state;
    /* 4 GiB - 1 in 15 bytes */
    assert_int_equal(refusal("ffffffff0f 00 61 0000 0000 0000 0000", NULL, &err),
                     PRA_ERR_SNAPPY_RATIO);
    assert_int_equal(err.http_status, 400);
    assert_non_null(strstr(err.message, "4294967295"));
    /* 1 byte declared, none there */
    assert_int_equal(refusal("01", NULL, &err), PRA_ERR_SNAPPY_RATIO);
}

static void lengths_over_the_limit_are_refused_before_memory_is_taken(void **state)
{
    pra_limits limits = {.size = sizeof(limits), .max_decoded_bytes = 99};
    pra_error err = {0};
    (void)state;
    /* 100 bytes: a literal and two copies */
    const char *block = "64 0c 61616161 fe0100 9a0100";
    assert_int_equal(refusal(block, &limits, &err), PRA_ERR_DECODED_TOO_LARGE);
    assert_int_equal(err.http_status, 400);
    assert_non_null(strstr(err.message, "100"));
    assert_non_null(strstr(err.message, "max_decoded_bytes (99"));
    assert_non_null(strstr(err.message, "--limit.decoded-size"));
}

static void the_densest_block_is_accepted(void **state)
{
    struct text t = {0};
    const size_t copies = 4000;
    pra_buffer *out;
    pra_error err = {0};
    (void)state;
    uint64_t declared = 1 + 64 * copies;
    for (; declared >= 0x80; declared >>= 7)
        text_bytes(&t, &(char){(char)(declared | 0x80)}, 1);
    text_bytes(&t, &(char){(char)declared}, 1);
    text_bytes(&t, "\0a", 2);
    for (size_t i = 0; i < copies; i++)
        text_bytes(&t, "\xfe\x01\0", 3);
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_snappy_uncompress(t.data, t.len, NULL, out, &err), PRA_OK);
    assert_int_equal(pra_buffer_len(out), 1 + 64 * copies);
    pra_buffer_free(out);
    text_free(&t);
}

static void corrupt_blocks_are_refused(void **state)
{
    static const char *const blocks[] = {
        "",                     /* no length */
        "80",                   /* length cut */
        "8080808080 00",        /* length of 6 bytes */
        "ffffffff1f",           /* length of 33 bits */
        "05 0c 61616161",       /* a byte short */
        "03 0c 61616161",       /* a byte more */
        "04 fe0100",            /* copy from before the beginning */
        "00 0c",                /* something after nothing */
        "ff060000734e61507059", /* the framed format */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        pra_error err = {0};
        int rc = refusal(blocks[i], NULL, &err);
        assert_true(rc == PRA_ERR_SNAPPY || rc == PRA_ERR_SNAPPY_RATIO);
        assert_int_equal(err.http_status, 400);
    }
}

/* [W-09] */
static void the_empty_block_is_an_empty_message(void **state)
{
    pra_buffer *out;
    (void)state;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_snappy_uncompress("\0", 1, NULL, out, NULL), PRA_OK);
    assert_int_equal(pra_buffer_len(out), 0);
    pra_buffer_free(out);
}

static int compress_and_back(struct failing_alloc *f, void *arg)
{
    const struct text *t = arg;
    pra_buffer *packed = NULL, *back = NULL;
    int rc = pra_buffer_new(&f->alloc, &packed);
    if (rc == PRA_OK)
        rc = pra_buffer_new(&f->alloc, &back);
    if (rc == PRA_OK)
        rc = pra_snappy_compress(t->data, t->len, packed, NULL);
    if (rc == PRA_OK)
        rc = pra_snappy_uncompress(pra_buffer_data(packed), pra_buffer_len(packed), NULL, back,
                                   NULL);
    pra_buffer_free(packed);
    pra_buffer_free(back);
    return rc;
}

static void running_out_of_memory_leaves_nothing(void **state)
{
    struct text t = {0};
    (void)state;
    for (int i = 0; i < 1000; i++)
        text_printf(&t, "%d ", i);
    assert_null(failing_alloc_loop(compress_and_back, &t));
    text_free(&t);
}

static void an_exception_of_the_compressor_becomes_an_error(void **state)
{
    struct text t = {0};
    pra_buffer *out;
    pra_error err = {0};
    (void)state;
    for (int i = 0; i < 1000; i++)
        text_printf(&t, "%d ", i);
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    cxx_heap_is_empty = 1;
    int rc = pra_snappy_compress(t.data, t.len, out, &err);
    cxx_heap_is_empty = 0;
    assert_int_equal(rc, PRA_ERR_NOMEM);
    assert_int_equal(err.http_status, 503);
    assert_int_equal(pra_buffer_len(out), 0);
    assert_int_equal(pra_snappy_compress(t.data, t.len, out, &err), PRA_OK);
    pra_buffer_free(out);
    text_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_compressed_comes_back),
        cmocka_unit_test(false_lengths_are_refused_before_memory_is_taken),
        cmocka_unit_test(lengths_over_the_limit_are_refused_before_memory_is_taken),
        cmocka_unit_test(the_densest_block_is_accepted),
        cmocka_unit_test(corrupt_blocks_are_refused),
        cmocka_unit_test(the_empty_block_is_an_empty_message),
        cmocka_unit_test(an_exception_of_the_compressor_becomes_an_error),
        cmocka_unit_test(running_out_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
