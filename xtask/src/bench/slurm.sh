#!/bin/bash
# A Slurm cluster of NODES slurmds on this one host, loopback only, for 'cargo xtask bench' to measure against.
#
#   slurm.sh start                        write the configuration, start munged, slurmctld and the slurmds
#   slurm.sh env                          print what to eval so that srun, sbatch, sinfo... talk to it
#   slurm.sh stop                         stop what start started, remove its directory
#
# Needs root and: slurm-wlm munge
# Settings (environment, of start): NODES=4 CPUS=8 (slots a node) PORT=17000 (slurmctld; slurmds take the next)
#   TUNED=1 (0: Slurm's own scheduler defaults)
set -uo pipefail

NODES=${NODES:-4} CPUS=${CPUS:-8} PORT=${PORT:-17000} TUNED=${TUNED:-1}
POINTER=${SLURM_PEER_POINTER:-${TMPDIR:-/tmp}/slurm-peer.$(id -u)}      # a file naming the running one's directory

die() { echo "slurm-peer: $*" >&2; exit 1; }
where() { [ -f "$POINTER" ] && [ -O "$POINTER" ] && D=$(<"$POINTER") && [ -d "$D" ] || die "not started (no $POINTER)"; }

# A pid counts as ours only while it is the very process that was started: same pid, same start time.
born() { local s; s=$(<"/proc/$1/stat") 2>/dev/null || return 1; s=${s##*) }; set -- $s; echo "${20}"; }
ours() { local b; b=$(born "$1" 2>/dev/null) && [ "$b" = "$2" ] && [ "$(ps -o stat= -p "$1" | cut -c1)" != Z ]; }
daemon() { # NAME COMMAND...
  local name=$1; shift
  setsid "$@" </dev/null >"$D/log/$name.out" 2>&1 &
  local pid=$!
  disown "$pid"
  echo "$pid $(born "$pid") $name" >>"$D/pids"
}
await() { # SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { tail -n 15 "$D"/log/* >&2; halt; die "$what: not up in time"; }
    sleep 0.1
  done
}
all_idle() { [ "$(sinfo -h -N -t idle -o %N | sort -u | wc -l)" = "$NODES" ]; }

start() {
  [ "$(id -u)" = 0 ] || die "wants root"
  local c
  for c in munged slurmctld slurmd srun sbatch sinfo scontrol; do command -v $c >/dev/null || die "no $c: apt-get install slurm-wlm munge"; done
  if [ -e "$POINTER" ]; then die "already started in $(<"$POINTER"): stop it first"; fi
  local p
  for ((p = PORT; p <= PORT + NODES; p++)); do
    (: <"/dev/tcp/127.0.0.1/$p") 2>/dev/null && die "port $p is taken (set PORT)"
  done
  D=$(mktemp -d) || die "mktemp"
  chmod 755 "$D"
  mkdir -p "$D"/{log,state,munge}
  : >"$D/pids"; : >"$D/plugstack.conf"
  echo "$D" >"$POINTER"
  local host; host=$(hostname -s)

  (umask 077; dd if=/dev/urandom of="$D/munge/key" bs=1024 count=1 status=none)
  {
    echo "ClusterName=peer"
    echo "SlurmctldHost=$host(127.0.0.1)"
    echo "SlurmctldPort=$PORT"
    echo "SlurmUser=root"
    echo "SlurmdUser=root"
    echo "AuthType=auth/munge"
    echo "AuthInfo=socket=$D/munge/socket"
    echo "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny"
    echo "StateSaveLocation=$D/state"
    echo "SlurmdSpoolDir=$D/spool.%n"
    echo "SlurmctldPidFile=$D/slurmctld.pid"
    echo "SlurmdPidFile=$D/slurmd.%n.pid"
    echo "SlurmctldLogFile=$D/log/slurmctld"
    echo "SlurmdLogFile=$D/log/slurmd.%n"
    echo "SlurmctldDebug=error"
    echo "SlurmdDebug=error"
    echo "PlugStackConfig=$D/plugstack.conf"
    echo "ProctrackType=proctrack/linuxproc"
    echo "TaskPlugin=task/none"
    echo "JobAcctGatherType=jobacct_gather/none"
    echo "AccountingStorageType=accounting_storage/none"
    echo "JobCompType=jobcomp/filetxt"
    echo "JobCompLoc=$D/jobcomp"
    echo "SwitchType=switch/none"
    echo "MpiDefault=none"
    echo "SelectType=select/cons_tres"
    echo "SelectTypeParameters=CR_CPU"
    echo "SchedulerType=sched/backfill"
    # Start jobs as soon as they come, as many as fit. Nothing here may contain the letters "defer", as defer_batch does: older
    # releases look for that anywhere in the line, and then each srun waits for the scheduler's next round, up to a second.
    if [ "$TUNED" = 1 ]; then
      echo "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_max_job_start=0,default_queue_depth=10000"
    fi
    echo "SlurmdParameters=config_overrides"
    echo "ReturnToService=2"
    echo "InactiveLimit=0"
    echo "KillWait=5"
    echo "MinJobAge=300"
    local i
    for ((i = 1; i <= NODES; i++)); do
      echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((PORT + i)) CPUs=$CPUS RealMemory=1000 State=UNKNOWN"
    done
    echo "PartitionName=all Nodes=n[1-$NODES] Default=YES MaxTime=INFINITE State=UP"
  } >"$D/slurm.conf"
  export SLURM_CONF=$D/slurm.conf

  daemon munged munged --foreground --force --socket="$D/munge/socket" --key-file="$D/munge/key" --log-file="$D/log/munged" \
    --pid-file="$D/munge/pid" --seed-file="$D/munge/seed" --num-threads=4
  await 10 munged munge -S "$D/munge/socket" -n
  daemon slurmctld slurmctld -D -c -f "$D/slurm.conf"
  await 20 slurmctld scontrol ping
  for ((i = 1; i <= NODES; i++)); do
    daemon "slurmd.n$i" slurmd -D -c -N "n$i" -f "$D/slurm.conf"
  done
  await 30 slurmds all_idle
  sinfo
  echo "started in $D"
}

stepds() { # ours are the ones that hold our configuration
  local n
  for n in /proc/[0-9]*; do
    [ "$(cat "$n/comm" 2>/dev/null)" = slurmstepd ] || continue
    { tr '\0' '\n' <"$n/environ" | grep -qxF "SLURM_CONF=$D/slurm.conf"; } 2>/dev/null && echo "${n#/proc/}"
  done
}
halt() {
  local pid b name n end
  # Jobs first, while there is someone to end them: a step daemon killed hard leaves its tasks, and srun waits for it.
  export SLURM_CONF=$D/slurm.conf
  timeout 5 squeue -h -o %A 2>/dev/null | xargs -r timeout 5 scancel 2>/dev/null
  end=$((SECONDS + 10))
  while [ -n "$(stepds)" ] && [ $SECONDS -lt $end ]; do sleep 0.1; done
  for n in $(stepds); do pkill -KILL -P "$n"; kill -KILL "$n"; done
  # Last started, first stopped; munged last, as the others sign with it.
  tac "$D/pids" | while read -r pid b name; do
    ours "$pid" "$b" || continue
    kill -TERM "$pid"
    end=$((SECONDS + 10))
    while ours "$pid" "$b" && [ $SECONDS -lt $end ]; do sleep 0.05; done
    if ours "$pid" "$b"; then echo "slurm-peer: $name ($pid) killed hard" >&2; kill -KILL "$pid"; fi
  done
  rm -rf "$D"; rm -f "$POINTER"
}

case ${1:-} in
  start) start ;;
  env) where; echo "export SLURM_CONF=$D/slurm.conf" ;;
  stop) where; halt; echo stopped ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
