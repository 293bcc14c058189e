/* Pictures are written under another name first, so that a failure leaves nothing half done. */
#include "graphviz.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void graphviz_quoted(FILE *file, const char *text) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', file);
        fputc(*text, file);
    }
}

static bool fail(char *error, size_t size, const char *what, const char *why) {
    snprintf(error, size, "%s: %s", what, why);
    return false;
}

static bool write_text(graphviz_writer *write, void *context, const char *name, const char *path, char *error,
                       size_t size) {
    FILE *file = fopen(name, "w");
    if (!file)
        return fail(error, size, path, strerror(errno));
    write(context, file);
    bool ok = !ferror(file);
    ok      = fclose(file) == 0 && ok;
    return ok ? true : fail(error, size, path, strerror(errno));
}

static bool run_graphviz(const char *from, const char *to, char *error, size_t size) {
    char from_copy[4200], to_copy[4200], program[] = "dot", format[] = "-Tsvg", into[] = "-o";
    snprintf(from_copy, sizeof from_copy, "%s", from);
    snprintf(to_copy, sizeof to_copy, "%s", to);
    char *arguments[] = {program, format, into, to_copy, from_copy, NULL};
    pid_t child;
    int status, problem = posix_spawnp(&child, program, NULL, NULL, arguments, environ);
    if (problem == ENOENT)
        return fail(error, size, "a picture in SVG needs `dot` of Graphviz",
                    "it is not installed (install graphviz, or write a .dot)");
    if (problem)
        return fail(error, size, "dot", strerror(problem));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return fail(error, size, "dot", strerror(errno));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? true
                                                         : fail(error, size, "dot", "it could not draw the picture");
}

bool graphviz_to_file(graphviz_writer *write, void *context, const char *path, char *error, size_t size) {
    char text[4200], image[4200];
    if (!path || strlen(path) > 4000)
        return fail(error, size, "cannot write", "the path is too long");
    snprintf(text, sizeof text, "%s.%d.dot.tmp", path, (int)getpid());
    snprintf(image, sizeof image, "%s.%d.svg.tmp", path, (int)getpid());
    const char *ending = strrchr(path, '.');
    bool svg           = ending && strcmp(ending, ".svg") == 0;
    bool ok = write_text(write, context, text, path, error, size) && (!svg || run_graphviz(text, image, error, size));
    if (ok && rename(svg ? image : text, path) != 0)
        ok = fail(error, size, path, strerror(errno));
    unlink(text);
    unlink(image);
    return ok;
}
