//! Job files: the command line at hand, as the schedulers that people have want it.

use super::args::{CampaignArgs, System};
use crate::nightly::shard::SHARDS;

/// The shards if none are given.
const MANY: u64 = 8;

/// A job file that runs a campaign in shards and merges them.
pub(super) fn job_file(system: System, args: &CampaignArgs) -> String {
    let of = args.shard.map_or(MANY, |shard| shard.of);
    let (name, command) = (&args.name, command(args));
    match system {
        System::Slurm => slurm(name, &command, of, args),
        System::Kubernetes => kubernetes(name, &command, of),
        System::GithubActions => github(name, &command, of),
        System::Hyperqueue => hyperqueue(name, &command, of),
        System::Systemd => systemd(name, &command),
    }
}

/// The command line without what the job file decides: the shard and the directory.
fn command(args: &CampaignArgs) -> String {
    let mut words = vec!["crashpoint".to_owned(), "campaign".to_owned()];
    words.extend(args.sims.iter().cloned());
    words.extend(args.profiles.iter().map(|profile| format!("--profile {profile}")));
    words.extend(args.time.map(|time| format!("--for {}s", time.as_secs())));
    words.extend(args.cells.map(|cells| format!("--cells {cells}")));
    words.extend(args.jobs.map(|jobs| format!("--jobs {jobs}")));
    let [a, b, c] = args.shares;
    if args.shares != crate::nightly::arguments::SHARES {
        words.push(format!("--shares {a},{b},{c}"));
    }
    words.extend(args.fail_fast.then(|| "--fail-fast".to_owned()));
    words.extend(args.require_all.then(|| "--require-all".to_owned()));
    words.join(" ")
}

fn slurm(name: &str, command: &str, of: u64, args: &CampaignArgs) -> String {
    // SIGTERM comes a minute before the time is up; the campaign then ends by itself.
    let minutes = args.time.map_or(8 * 60, |time| time.as_secs().div_ceil(60)) + 10;
    let cpus = args.jobs.map_or(2, std::num::NonZero::get);
    let last = of - 1;
    format!(
        "#!/bin/sh
# sbatch this file. The shard comes from the array's variables.
# A task that the site kills or requeues continues where it was.
#SBATCH --job-name=crashpoint-{name}
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task={cpus}
#SBATCH --mem-per-cpu=4G
#SBATCH --time={minutes}
#SBATCH --signal=B:TERM@60
#SBATCH --requeue
out=$SLURM_SUBMIT_DIR/crashpoint-{name}
trap 'kill -TERM $campaign; wait $campaign' TERM
{command} --name {name} --out \"$out/$SLURM_ARRAY_TASK_ID\" &
campaign=$!
wait $campaign
# When all tasks have ended: crashpoint merge \"$out\"/[0-9]* --out \"$out/merged\"
"
    )
}

fn kubernetes(name: &str, command: &str, of: u64) -> String {
    let words: Vec<String> = command.split(' ').map(|word| format!("\"{word}\"")).collect();
    let words = words.join(", ");
    // Names of Kubernetes objects are lower case, without dots and underscores.
    let object: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let object = object.trim_matches('-');
    format!(
        "# kubectl apply -f this file, with your image, and a claim that all pods can write to.
# Exit codes 1, 2 and 3 say something about the engine or the arguments: they are not retried.
# 75 and a signal say something about the machine: the pod runs again, and continues.
apiVersion: batch/v1
kind: Job
metadata:
  name: crashpoint-{object}
spec:
  completionMode: Indexed
  completions: {of}
  parallelism: {of}
  backoffLimitPerIndex: 5
  maxFailedIndexes: {of}
  podFailurePolicy:
    rules:
      - action: FailIndex
        onExitCodes: {{operator: In, values: [1, 2, 3]}}
      - action: Ignore
        onPodConditions: [{{type: DisruptionTarget}}]
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 60
      containers:
        - name: campaign
          image: YOUR-IMAGE
          command: [{words}, \"--name\", \"{name}\", \"--out\", \"/out/$(JOB_COMPLETION_INDEX)\"]
          env:
            - name: {SHARDS}
              value: \"{of}\"
            - name: JOB_COMPLETION_INDEX
              valueFrom:
                fieldRef:
                  fieldPath: metadata.annotations['batch.kubernetes.io/job-completion-index']
          volumeMounts:
            - {{name: out, mountPath: /out}}
      volumes:
        - name: out
          persistentVolumeClaim: {{claimName: YOUR-CLAIM}}
# When the job has ended: crashpoint merge /out/[0-9]* --out /out/merged
"
    )
}

fn github(name: &str, command: &str, of: u64) -> String {
    let shards: Vec<String> = (0..of).map(|shard| shard.to_string()).collect();
    let shards = shards.join(", ");
    let run = command.strip_prefix("crashpoint ").unwrap_or(command);
    format!(
        "# .github/workflows/crashpoint-{name}.yml
name: crashpoint-{name}
on:
  schedule:
    - cron: \"17 1 * * *\"
  workflow_dispatch:
jobs:
  campaign:
    runs-on: ubuntu-latest
    strategy:
      fail-fast: false
      matrix:
        shard: [{shards}]
    steps:
      - uses: actions/checkout@v4
      - run: cargo build --release
      # The name of each night is its own, so that each tests other workloads.
      - run: >
          cargo run --release -- {run} --name {name}-${{{{ github.run_id }}}}
          --shard ${{{{ matrix.shard }}}}/{of} --out out/${{{{ matrix.shard }}}}
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: shard-${{{{ matrix.shard }}}}
          path: out
          include-hidden-files: true
  merge:
    needs: campaign
    if: always()
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/download-artifact@v4
        with:
          path: out
          merge-multiple: true
      - run: cargo run --release -- merge out/[0-9]* --out merged
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: merged
          path: merged
"
    )
}

fn hyperqueue(name: &str, command: &str, of: u64) -> String {
    let last = of - 1;
    format!(
        "#!/bin/sh
# Run this file where `hq` reaches a server. A task whose worker is lost runs again, and continues.
out=$PWD/crashpoint-{name}
hq submit --wait --name crashpoint-{name} --array 0-{last} --env {SHARDS}={of} \\
  --crash-limit 5 -- sh -c \\
  '{command} --name {name} --out '\"$out\"'/$HQ_TASK_ID'
crashpoint merge \"$out\"/[0-9]* --out \"$out/merged\"
"
    )
}

fn systemd(name: &str, command: &str) -> String {
    format!(
        "# /etc/systemd/system/crashpoint-{name}.service
[Unit]
Description=crashpoint campaign {name}
[Service]
Type=oneshot
# %I of an instance would do as well: a new name tests other workloads.
ExecStart=/bin/sh -c 'exec {command} --name {name}-$(date +%%F) \\
  --out /var/lib/crashpoint/{name}-$(date +%%F)'
StateDirectory=crashpoint
DynamicUser=yes
Nice=10
# Exit 75: the disk was full, or the directory locked. A signal ends it cleanly.
RestartForceExitStatus=75
RestartSec=10min
TimeoutStopSec=60
# /etc/systemd/system/crashpoint-{name}.timer
[Unit]
Description=crashpoint campaign {name}, each night
[Timer]
OnCalendar=01:17
[Install]
WantedBy=timers.target
"
    )
}
