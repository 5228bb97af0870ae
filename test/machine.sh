# A Debian of its own, for tests that need another one than this machine is. To be sourced after test/lib.sh.
# shellcheck shell=bash
#
# A machine is a folder that debootstrap has filled. What runs in it has mounts and processes of its own, which
# go when it ends, however it ends. Its packages come from the mirror that this machine itself uses.

# machine_tools: says why there can be no machine here, or nothing and then all that is needed is there.
machine_tools() {
	if [ "$(id -u)" -ne 0 ]; then
		say "this needs root"
		return
	fi
	unshare --mount --pid --fork true 2>/dev/null || { say "no namespaces can be made here" && return; }
	if ! command -v debootstrap >/dev/null; then
		(install_packages debootstrap) >&2 || { say "debootstrap could not be installed" && return; }
	fi
	[ -n "$(machine_mirror)" ] || say "apt knows no Debian archive here"
}

# The first Debian archive of this machine's apt that is not the one of security updates.
machine_mirror() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Identifier: Packages' 2>/dev/null |
		awk '$1 ~ /\/debian\/?$/ && $2 !~ /security/ && !found++ { print $1 }'
}

machine_proxy() {
	local proxy=
	eval "$(apt-config shell proxy Acquire::http::Proxy)"
	say "${proxy:-${http_proxy:-}}"
}

# make_machine <folder> <release> [<release>...]: packages come from the others too, if they are newer there, or only
# there. Its status is not 0 if the mirror has no such release, or a broken one; the log is $SCRATCH/debootstrap.log.
make_machine() {
	local machine=$1 release=$2 mirror proxy more
	shift 2
	mirror=$(machine_mirror)
	proxy=$(machine_proxy)
	http_proxy=$proxy watched "$SCRATCH/debootstrap.log" debootstrap --variant=minbase "$release" "$machine" "$mirror" || return 1
	[ -z "$proxy" ] || printf 'Acquire::http::Proxy "%s";\n' "$proxy" >"$machine/etc/apt/apt.conf.d/proxy"
	for more in "$@"; do printf 'deb %s %s main\n' "$mirror" "$more" >>"$machine/etc/apt/sources.list"; done
	# A mirror of a moving release may be a copy from some days ago.
	echo 'Acquire::Check-Valid-Until "false";' >"$machine/etc/apt/apt.conf.d/old"
	cp -L /etc/resolv.conf /etc/hosts "$machine/etc/" 2>/dev/null || true
	mkdir "$machine/src"
}

# Which release has a version of PostgreSQL, and which other one the version before it, for what concerns two of them. experimental is
# no system of its own, but stands on sid.
releases() {
	case $1 in
		15) say "bookworm" ;;
		17) say "trixie bookworm" ;;
		18) say "sid trixie" ;;
		19) say "sid experimental" ;;
	esac
}
older_major() {
	case $1 in
		17) say 15 ;;
		18) say 17 ;;
		19) say 18 ;;
	esac
}

# The source lies in a folder of this name in /src: of each user of a machine that is kept its own.
SOURCE_NAME=integrity

# ready_machine <folder> <major> <seconds> <test|build>: made if it was not there, with all packages that "need" asks for, and with a
# copy of $SCRATCH/source. What went wrong stands in $SCRATCH/debootstrap.log or $SCRATCH/packages.log.
ready_machine() {
	local machine=$1 major=$2 seconds=$3 what=$4 list
	if ! [ -d "$machine" ]; then
		read -ra list < <(releases "$major")
		rm -rf "$machine.new"
		make_machine "$machine.new" "${list[@]}" || return 1
		# A server is wanted from there, with its libraries. Nothing else.
		[ "${list[-1]}" != experimental ] ||
			printf 'Package: src:postgresql-%s\nPin: release a=experimental\nPin-Priority: 990\n' "$major" >"$machine.new/etc/apt/preferences.d/server"
		mv "$machine.new" "$machine"
	fi
	rm -rf "$machine/src/$SOURCE_NAME"
	cp -r "$SCRATCH/source" "$machine/src/$SOURCE_NAME"
	# bash is there from the start, everything else comes as it is wanted.
	in_machine "$SCRATCH/packages.log" "$machine" "$seconds" "bash -c '. test/lib.sh && open_scratch && need $what'" \
		"PG_MAJOR=$major" "PG_OLDER=$(older_major "$major")"
}

# in_machine <log, or -> <folder> <seconds> <shell command> [<name>=<value>...]: as root, in /src/$SOURCE_NAME. 124: out of time.
in_machine() {
	local log=$1 machine=$2 seconds=$3 command=$4
	shift 4
	# shellcheck disable=SC2016
	watched "$log" timeout --kill-after=10 "$seconds" unshare --mount --pid --ipc --fork --kill-child sh -ec '
		machine=$1
		source=$2
		command=$3
		shift 3
		mount --make-rprivate /
		mount -t proc proc "$machine/proc"
		mount --rbind /dev "$machine/dev"
		mount -t tmpfs -o mode=1777 shm "$machine/dev/shm"
		exec chroot "$machine" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
			"$@" sh -c "cd /src/$source && $command"
	' sh "$machine" "$SOURCE_NAME" "$command" "http_proxy=$(machine_proxy)" "$@"
}
