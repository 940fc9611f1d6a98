/* SPDX-License-Identifier: Apache-2.0 */
/* Input: the value of an Authorization header. What is taken for a user and a password, or for a
 * token, gives the same when it is written again. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/door.h"

static void check(int holds)
{
    if (!holds)
        abort();
}

static int same(pra_str a, pra_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* "Basic " and base64 of user:secret, made bit by bit. */
static size_t write_basic(const pra__authorization *a, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char pair[sizeof(a->buf)];
    size_t len = a->user.len + 1 + a->secret.len, at = 6;
    check(len <= sizeof(pair));
    memcpy(pair, a->user.ptr, a->user.len);
    pair[a->user.len] = ':';
    memcpy(pair + a->user.len + 1, a->secret.ptr, a->secret.len);
    memcpy(out, "Basic ", 6);
    for (size_t bit = 0; bit < len * 8; bit += 6) {
        unsigned digit = 0;
        for (size_t i = bit; i < bit + 6; i++)
            digit = digit << 1 | (i < len * 8 ? (unsigned)pair[i / 8] >> (7 - i % 8) & 1 : 0);
        out[at++] = digits[digit];
    }
    while ((at - 6) % 4)
        out[at++] = '=';
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pra__authorization first, second;
    char again[2 * sizeof(first.buf)];
    char *exact = malloc(size ? size : 1); /* so that reading past its end is seen */
    size_t len;
    check(exact != NULL);
    if (size)
        memcpy(exact, data, size);
    if (pra__authorization_parse((pra_str){exact, size}, &first)) {
        check(first.scheme == PRA__BASIC || first.scheme == PRA__BEARER);
        if (first.scheme == PRA__BASIC) {
            check(memchr(first.user.ptr, ':', first.user.len) == NULL);
            len = write_basic(&first, again);
        } else {
            check(first.secret.len > 0 && first.secret.len <= sizeof(first.buf));
            len = (size_t)snprintf(again, sizeof(again), "Bearer %.*s", (int)first.secret.len,
                                   first.secret.ptr);
        }
        check(pra__authorization_parse((pra_str){again, len}, &second));
        check(second.scheme == first.scheme && same(second.secret, first.secret));
        check(first.scheme == PRA__BEARER || same(second.user, first.user));
    }
    free(exact);
    return 0;
}
