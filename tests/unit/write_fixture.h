/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of write messages share. Include after cmocka.h. */
#ifndef TESTS_UNIT_WRITE_FIXTURE_H
#define TESTS_UNIT_WRITE_FIXTURE_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pra.h"
#include "support/events.h"
#include "support/text.h"

#define STR(s) ((pra_str){(s), sizeof(s) - 1})

static inline pra_write_request *new_request(const pra_alloc *alloc)
{
    pra_write_request *req;
    assert_int_equal(pra_write_request_new(alloc, &req), PRA_OK);
    return req;
}

static inline struct text events_of(const pra_write_request *req)
{
    struct text t = {0};
    pra_columns c = {.size = sizeof(c)};
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    text_bytes(&t, "", 0);
    events_columns(&t, &c);
    return t;
}

static inline struct text encoding_of(const pra_write_request *req, int32_t version)
{
    struct text t = {0};
    pra_buffer *out;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_write_request_encode(req, version, out, NULL), PRA_OK);
    text_bytes(&t, pra_buffer_data(out), pra_buffer_len(out));
    pra_buffer_free(out);
    return t;
}

static inline void assert_same_text(const struct text *a, const struct text *b)
{
    assert_int_equal(a->len, b->len);
    if (a->len)
        assert_memory_equal(a->data, b->data, a->len);
}

static inline void assert_encodes_to(const pra_write_request *req, int32_t version, const char *hex)
{
    struct text expected = text_of_hex(hex);
    struct text got = encoding_of(req, version);
    assert_same_text(&got, &expected);
    text_free(&got);
    text_free(&expected);
}

static inline void assert_empty(const pra_write_request *req)
{
    pra_columns c = {.size = sizeof(c)};
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    assert_int_equal(c.series_count, 0);
    assert_int_equal(c.label_count, 0);
    assert_int_equal(c.metadata_count, 0);
    assert_int_equal(c.symbol_count, 0);
    assert_int_equal(c.label_offsets[0], 0);
    assert_int_equal(c.sample_offsets[0], 0);
    assert_int_equal(c.exemplar_label_offsets[0], 0);
    assert_int_equal(pra_write_request_version(req), 0);
}

static inline void put_varint(struct text *t, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        text_bytes(t, &(char){(char)(v | 0x80)}, 1);
    text_bytes(t, &(char){(char)v}, 1);
}

/* Field of a length-delimited kind. */
static inline void put_field(struct text *t, char key, const void *bytes, size_t len)
{
    text_bytes(t, &key, 1);
    put_varint(t, len);
    text_bytes(t, bytes, len);
}

static inline void put_repeated(struct text *t, const char *bytes, size_t len, size_t count)
{
    enum { STEP = 4096 };
    struct text many = {0};
    text_bytes(&many, "", 0);
    for (size_t i = 0; i < STEP && i < count; i++)
        text_bytes(&many, bytes, len);
    for (; count >= STEP; count -= STEP)
        text_append(t, &many);
    text_bytes(t, many.data, count * len);
    text_free(&many);
}

/* A message of one field with this key whose contents are count times these bytes. */
static inline struct text repeated_in(char key, const char *bytes, size_t len, size_t count)
{
    struct text inner = {0}, t = {0};
    text_bytes(&inner, "", 0);
    put_repeated(&inner, bytes, len, count);
    put_field(&t, key, inner.data, inner.len);
    text_free(&inner);
    return t;
}

static inline struct text file_in(const char *folder, const char *name)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/%s/%s", PRA_TESTS_DIR, folder, name);
    struct text t = text_of_file(path);
    if (!t.data)
        fail_msg("cannot read %s", path);
    return t;
}

/* The message of golden/FOLDER/NAME.hex. */
static inline struct text message_in(const char *folder, const char *name)
{
    struct text hex = file_in(folder, name);
    struct text message = text_of_hex(hex.data);
    text_free(&hex);
    return message;
}

/* NAME.hex decodes to what NAME.txt says. */
static inline void check_golden(const char *folder, const char *name, int32_t version)
{
    char other[256];
    struct text message = message_in(folder, name);
    (void)snprintf(other, sizeof(other), "%.*s.txt", (int)(strlen(name) - 4), name);
    struct text expected = file_in(folder, other);
    pra_write_request *req = new_request(NULL);
    pra_error err = {0};
    int rc = pra_write_request_decode(req, version, message.data, message.len, NULL, &err);
    struct text got = events_of(req);
    if (rc)
        text_printf(&got, "%s at %d\n", pra_error_name(rc), (int)err.offset);
    if (strcmp(got.data, expected.data) != 0)
        fail_msg("%s:\n%s", name, got.data);
    text_free(&got);
    text_free(&expected);
    text_free(&message);
    pra_write_request_free(req);
}

static inline void check_all_golden(const char *folder, int32_t version, size_t at_least)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/%s", PRA_TESTS_DIR, folder);
    DIR *dir = opendir(path);
    size_t count = 0;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        size_t len = strlen(e->d_name);
        if (len < 5 || strcmp(e->d_name + len - 4, ".hex") != 0)
            continue;
        check_golden(folder, e->d_name, version);
        count++;
    }
    (void)closedir(dir);
    assert_true(count >= at_least);
}

/* A message cut anywhere is refused, unless the cut falls between two fields of the outermost
 * message; offsets stay within the message. Returns how many cuts are messages. */
static inline size_t check_every_truncation(struct text message, int32_t version)
{
    pra_write_request *req = new_request(NULL);
    size_t whole = 0;
    for (size_t len = 0; len <= message.len; len++) {
        char *cut = malloc(len ? len : 1);
        pra_error err = {0};
        assert_non_null(cut);
        memcpy(cut, message.data, len);
        int rc = pra_write_request_decode(req, version, cut, len, NULL, &err);
        if (rc) {
            assert_int_equal(rc, PRA_ERR_PROTO);
            assert_int_equal(err.http_status, 400);
            assert_true(err.offset <= len);
            assert_empty(req);
        } else {
            whole++;
        }
        free(cut);
    }
    pra_write_request_free(req);
    return whole;
}

#endif
