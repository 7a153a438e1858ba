#!/bin/sh
# A developer's minutes in a workspace: edit, compile with make, run a script, start a background job.
# `make run` traces it.
set -eu
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
cd "$home"

cat >hello.c <<'C'
#include <stdio.h>
int main(void) { puts("hello"); return 0; }
C
sed -i s/hello\"/'hello, jessie"'/ hello.c

cat >Makefile <<'M'
CC = cc
hello: hello.o
	$(CC) -o hello hello.o
hello.o: hello.c
	$(CC) -c hello.c
M
make

cat >greet <<'S'
#!/bin/sh -e
./hello
date -u +%F
S
chmod +x greet
./greet "from a script"

setsid sh -c 'sort hello.c | tail -n 1' >job.log 2>&1 &
wait
