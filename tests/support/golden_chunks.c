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

/* One line: name, type, chunk and WriteRequest in hexadecimal, perhaps start timestamps. */
static void take_line(char *line, void (*check)(void *ctx, const struct golden_chunk *golden),
                      void *ctx)
{
    struct golden_chunk g = {.name = strtok(line, " ")};
    const char *type = strtok(NULL, " ");
    const char *chunk = strtok(NULL, " ");
    const char *content = strtok(NULL, " ");
    g.starts_cstr = strtok(NULL, " ");
    must(content != NULL, "a line of fewer than four words");
    g.type = (int32_t)strtol(type, NULL, 10);
    g.chunk = text_of_hex(chunk);
    struct text message = text_of_hex(content);
    must(pra_write_request_new(NULL, &g.content) == PRA_OK, "no memory");
    must(pra_write_request_decode(g.content, PRA_WRITE_V1, message.data, message.len, NULL, NULL) ==
             PRA_OK,
         g.name);
    check(ctx, &g);
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
