"""Answers of schedulers that no test machine has, as their documentation and sites show them."""

PBS_QSTAT = """\
Job Id: 3301.pbs01
    Job_Name = s0123456789abcd
    Job_Owner = alice@login2
    resources_used.cput = 00:00:31
    resources_used.walltime = 00:00:35
    job_state = R
    queue = workq
    server = pbs01
    exec_host = node12/0*4+node13/0*4
    Resource_List.walltime = 01:30:00
    substate = 42
    Variable_List = PBS_O_HOME=/home/alice,PBS_O_LANG=en_US.UTF-8,
\tPBS_O_LOGNAME=alice,PBS_O_PATH=/usr/local/bin:/usr/bin:/bin,job_state = Q,
\tPBS_O_WORKDIR=/home/alice,PBS_O_SYSTEM=Linux,PBS_O_QUEUE=workq
    comment = Job run at Wed Nov 25 at 13:00 on (node12:ncpus=4)+(node13:ncpus=4)
    etime = Wed Nov 25 12:59:58 2026
    project = _pbs_project_default

Job Id: 3302.pbs01
    Job_Name = waits
    job_state = Q
    queue = workq
    comment = Not Running: Insufficient amount of resource: ncpus

Job Id: 3303.pbs01
    Job_Name = late
    job_state = F
    substate = 92
    Exit_status = -29
    comment = Job run at Wed Nov 25 at 12:00 on (node12:ncpus=1) and exceeded resource walltime

Job Id: 3304.pbs01
    Job_Name = deleted
    job_state = F
    substate = 91
    comment = Job run at Wed Nov 25 at 12:10 on (node12:ncpus=1) and terminated
    Exit_status = 271

Job Id: 3305.pbs01
    Job_Name = fine
    job_state = F
    substate = 92
    Exit_status = 0

Job Id: 3306.pbs01
    Job_Name = big
    job_state = F
    substate = 93
    Exit_status = -27

Job Id: 3307.pbs01
    Job_Name = broken
    job_state = F
    substate = 93
    Exit_status = 3

Job Id: 3308.pbs01
    Job_Name = held
    job_state = H
    Hold_Types = u

"""
PBS_QSTAT_ARRAY = """\
Job Id: 41[].pbs01
    Job_Name = sweep
    job_state = B
    array = True
    array_indices_submitted = 0-2

Job Id: 41[0].pbs01
    Job_Name = sweep
    job_state = X
    substate = 92
    Exit_status = 0

Job Id: 41[1].pbs01
    Job_Name = sweep
    job_state = R
    exec_host = node3/0

Job Id: 41[2].pbs01
    Job_Name = sweep
    job_state = Q

"""

LSF_BJOBS = """\
1201|0|RUN|-|4*hostA:4*hostB|-|-|sremote-a
1202|0|PEND|-|-|-|New job is waiting for scheduling;|sremote-b
1203|0|EXIT|140|hostA|TERM_RUNLIMIT: job killed after reaching LSF run time limit|-|sremote-c
1204|0|EXIT|130|hostA|TERM_OWNER: job killed by owner|-|sremote-d
1205|0|EXIT|137|hostA|TERM_MEMLIMIT: job killed after reaching LSF memory usage limit|-|sremote-e
1206|0|DONE|-|hostA|-|-|sremote-f
1207|0|EXIT|3|hostA|-|-|sremote-g
1208|0|PSUSP|-|-|-|The job was suspended by the user while pending;|sremote-h
1209|0|UNKWN|-|hostA|-|-|name|with|bars
1210|1|DONE|-|hostA|-|-|sweep[1]
1210|2|RUN|-|hostB|-|-|sweep[2]
1210|3|PEND|-|-|-|The job array has reached its running element limit;|sweep[3]
"""

SGE_QSTAT = """\
<?xml version='1.0'?>
<job_info  xmlns:xsd="http://arc.liv.ac.uk/repos/darcs/sge/source/dist/util/resources/schemas/qstat/qstat.xsd">
  <queue_info>
    <job_list state="running">
      <JB_job_number>501</JB_job_number>
      <JAT_prio>0.55500</JAT_prio>
      <JB_name>sremote-a</JB_name>
      <JB_owner>alice</JB_owner>
      <state>r</state>
      <JAT_start_time>2026-11-25T13:00:01</JAT_start_time>
      <queue_name>all.q@node07.cluster</queue_name>
      <slots>4</slots>
    </job_list>
    <job_list state="running">
      <JB_job_number>502</JB_job_number>
      <JAT_prio>0.55500</JAT_prio>
      <JB_name>a &lt;b&gt; &amp; c</JB_name>
      <JB_owner>alice</JB_owner>
      <state>r</state>
      <JAT_start_time>2026-11-25T13:00:01</JAT_start_time>
      <queue_name>all.q@node08.cluster</queue_name>
      <slots>1</slots>
      <tasks>1</tasks>
    </job_list>
  </queue_info>
  <job_info>
    <job_list state="pending">
      <JB_job_number>502</JB_job_number>
      <JAT_prio>0.00000</JAT_prio>
      <JB_name>a &lt;b&gt; &amp; c</JB_name>
      <JB_owner>alice</JB_owner>
      <state>qw</state>
      <JB_submission_time>2026-11-25T13:00:00</JB_submission_time>
      <queue_name></queue_name>
      <slots>1</slots>
      <tasks>2-4:1</tasks>
    </job_list>
    <job_list state="pending">
      <JB_job_number>503</JB_job_number>
      <JAT_prio>0.00000</JAT_prio>
      <JB_name>held</JB_name>
      <JB_owner>alice</JB_owner>
      <state>hqw</state>
      <JB_submission_time>2026-11-25T13:00:00</JB_submission_time>
      <queue_name></queue_name>
      <slots>1</slots>
    </job_list>
    <job_list state="pending">
      <JB_job_number>504</JB_job_number>
      <JAT_prio>0.00000</JAT_prio>
      <JB_name>broken</JB_name>
      <JB_owner>alice</JB_owner>
      <state>Eqw</state>
      <JB_submission_time>2026-11-25T13:00:00</JB_submission_time>
      <queue_name></queue_name>
      <slots>1</slots>
    </job_list>
  </job_info>
</job_info>
"""

FLUX_JOBS = """\
5079748608|RUNNING|16||node[3-4]||sremote-a
5079748609|PENDING|16||||sremote-b
5079748610|PENDING|0||||sremote-c
5079748611|COMPLETED|16|0|node3||sremote-d
5079748612|FAILED|16|3|node3||sremote-e
5079748613|CANCELED|16|-128||cancel|sremote-f
5079748614|TIMEOUT|16|142|node3|timeout|name|with|bars
"""
