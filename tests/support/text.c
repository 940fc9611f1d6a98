/* SPDX-License-Identifier: Apache-2.0 */
#include "support/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void room(struct text *t, size_t extra)
{
    if (t->len + extra + 1 <= t->cap)
        return;
    t->cap = (t->len + extra + 1) * 2;
    t->data = realloc(t->data, t->cap);
    if (!t->data)
        abort();
}

void text_bytes(struct text *t, const void *bytes, size_t len)
{
    room(t, len);
    if (len)
        memcpy(t->data + t->len, bytes, len);
    t->len += len;
    t->data[t->len] = 0;
}

void text_printf(struct text *t, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(line))
        abort();
    text_bytes(t, line, (size_t)n);
}

void text_quoted(struct text *t, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    text_bytes(t, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        if (p[i] >= 0x20 && p[i] < 0x7F && p[i] != '"' && p[i] != '\\')
            text_bytes(t, p + i, 1);
        else
            text_printf(t, "\\x%02x", p[i]);
    }
    text_bytes(t, "\"", 1);
}

void text_append(struct text *t, const struct text *more)
{
    text_bytes(t, more->data, more->len);
}

void text_clear(struct text *t)
{
    t->len = 0;
    if (t->data)
        t->data[0] = 0;
}

void text_free(struct text *t)
{
    free(t->data);
    memset(t, 0, sizeof(*t));
}

struct text text_of_file(const char *path)
{
    struct text t = {0};
    char block[4096];
    size_t n;
    FILE *file = fopen(path, "rb");
    if (!file)
        return t;
    text_bytes(&t, "", 0);
    while ((n = fread(block, 1, sizeof(block), file)) > 0)
        text_bytes(&t, block, n);
    (void)fclose(file);
    return t;
}

struct text text_of_hex(const char *hex)
{
    struct text t = {0};
    text_bytes(&t, "", 0);
    for (const char *p = hex; *p;) {
        unsigned byte;
        if (*p == '#') {
            p += strcspn(p, "\n");
        } else if (isspace((unsigned char)*p)) {
            p++;
        } else {
            if (sscanf(p, "%2x", &byte) != 1 || !isxdigit((unsigned char)p[1]))
                abort();
            char c = (char)byte;
            text_bytes(&t, &c, 1);
            p += 2;
        }
    }
    return t;
}

uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

size_t random_below(uint64_t *state, size_t below)
{
    return (size_t)(random_next(state) % below);
}
