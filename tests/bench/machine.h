/* What every figure of a benchmark stands beside. */
#ifndef ATTNC_BENCH_MACHINE_H
#define ATTNC_BENCH_MACHINE_H

#include <stdio.h>
#include <string.h>

/* "CPU " and the processor's name, as the system knows it. */
static void print_cpu(void) {
    char line[512], *value;
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "model name", 10) == 0 && (value = strchr(line, ':'))) {
            printf("CPU %s", value + 2);
            break;
        }
    if (f)
        fclose(f);
}

#endif
