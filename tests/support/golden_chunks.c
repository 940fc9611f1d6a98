/* SPDX-License-Identifier: Apache-2.0 */
#include "support/golden_chunks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "golden chunks: %s\n", what);
    abort();
}

/* A series with the same samples, and start timestamps that stand in a row with commas. */
static pra_write_request *with_starts(const pra_write_request *content, const char *starts)
{
    static int64_t numbers[1000];
    pra_columns c = {.size = sizeof(c)};
    pra_write_request *req;
    size_t count = 0;
    for (const char *p = starts; count < 1000; p++) {
        char *end;
        numbers[count++] = strtoll(p, &end, 10);
        p = end;
        if (*p != ',')
            break;
    }
    must(pra_write_request_columns(content, &c) == PRA_OK && c.sample_count == count,
         "as many start timestamps as samples");
    must(pra_write_request_new(NULL, &req) == PRA_OK &&
             pra_write_request_add_series(req, NULL, 0) == PRA_OK &&
             pra_write_request_add_samples(req, c.timestamps_ms, c.values, numbers, count) ==
                 PRA_OK,
         "no memory");
    return req;
}

/* One line: name, type, chunk and WriteRequest in hexadecimal, perhaps start timestamps. */
static void take_line(char *line, void (*check)(void *ctx, const struct golden_chunk *golden),
                      void *ctx)
{
    struct golden_chunk g = {.name = strtok(line, " ")};
    const char *type = strtok(NULL, " ");
    const char *chunk = strtok(NULL, " ");
    const char *content = strtok(NULL, " ");
    const char *starts = strtok(NULL, " ");
    must(content != NULL, "a line of fewer than four words");
    g.type = (int32_t)strtol(type, NULL, 10);
    g.chunk = text_of_hex(chunk);
    struct text message = text_of_hex(content);
    must(pra_write_request_new(NULL, &g.content) == PRA_OK, "no memory");
    must(pra_write_request_decode(g.content, PRA_WRITE_V1, message.data, message.len, NULL, NULL) ==
             PRA_OK,
         g.name);
    pra_write_request *decoded = g.content;
    if (starts)
        g.content = with_starts(decoded, starts);
    check(ctx, &g);
    if (starts)
        pra_write_request_free(decoded);
    pra_write_request_free(g.content);
    text_free(&g.chunk);
    text_free(&message);
}

size_t golden_chunks(const char *file, void (*check)(void *ctx, const struct golden_chunk *golden),
                     void *ctx)
{
    char path[512];
    size_t count = 0;
    snprintf(path, sizeof(path), "%s/golden/chunks/%s", PRA_TESTS_DIR, file);
    struct text t = text_of_file(path);
    must(t.data != NULL, path);
    for (char *line = t.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, count++) {
        *end = '\0';
        take_line(line, check, ctx);
    }
    text_free(&t);
    return count;
}
