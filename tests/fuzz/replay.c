/* SPDX-License-Identifier: Apache-2.0 */
/* usage: fuzz_NAME DIRECTORY...: gives every file there to the fuzz target, once as it is and once
 * cut in half. For builds without libFuzzer. */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An exact-length heap block, so that a sanitizer sees every byte read past the end. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long size = -1;
    int ok = 0;

    if (file && !fseek(file, 0, SEEK_END) && (size = ftell(file)) >= 0 &&
        (data = malloc((size_t)size + 1)) != NULL) {
        rewind(file);
        ok = fread(data, 1, (size_t)size, file) == (size_t)size;
    }
    if (ok) {
        run(data, (size_t)size);
        run(data, (size_t)size / 2);
    } else {
        perror(path);
    }
    free(data);
    if (file)
        fclose(file);
    return ok;
}

static int run_directory(const char *path, unsigned *count)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    int ok = directory != NULL;

    if (!directory)
        perror(path);
    while (ok && (entry = readdir(directory)) != NULL) {
        char name[PATH_MAX];
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        ok = run_file(name);
        *count += 1;
    }
    if (directory)
        closedir(directory);
    return ok;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    for (int i = 1; i < argc; i++)
        if (!run_directory(argv[i], &count))
            return 1;
    printf("%u inputs\n", count);
    return count == 0; /* a target without seeds is a mistake */
}
