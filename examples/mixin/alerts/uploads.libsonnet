// Do blocks reach the bucket.
local group = import 'group.libsonnet';

{
  prometheusAlerts+:: {
    groups+: [
      group('ringside-uploads', $._config, [
        {
          alert: 'RingsideBucketUnreachable',
          severity: 'warning',
          // Without a bucket it is 0, too.
          expr: |||
            ringside_upload_bucket_reachable{%(ringsideSelector)s} == 0
              and
            ringside_upload_enabled{%(ringsideSelector)s} == 1
          |||,
          'for': '15m',
          summary: 'The bucket does not serve {{ $labels.%(memberLabel)s }}.',
          description: 'For 15 minutes the bucket has not served {{ $labels.%(memberLabel)s }}. Blocks stay on its disk, beyond the retention of Prometheus.',
        },
        {
          alert: 'RingsideUploadLagging',
          severity: 'warning',
          expr: 'ringside_upload_lag_seconds{%(ringsideSelector)s} > %(uploadLagSeconds)d',
          summary: 'Blocks of {{ $labels.%(memberLabel)s }} are late.',
          description: 'The oldest block of {{ $labels.%(memberLabel)s }} that is not in the bucket has been complete for {{ $value | humanizeDuration }}.',
        },
        {
          alert: 'RingsideUploadFarBehind',
          severity: 'critical',
          expr: 'ringside_upload_lag_seconds{%(ringsideSelector)s} > %(uploadBehindSeconds)d',
          summary: 'Blocks of {{ $labels.%(memberLabel)s }} are in danger.',
          description: 'A block of {{ $labels.%(memberLabel)s }} has waited for {{ $value | humanizeDuration }}. What is not in the bucket is lost with the volume, and the disk fills up.',
        },
        {
          alert: 'RingsideUploadHeld',
          severity: 'critical',
          expr: 'ringside_upload_held{%(ringsideSelector)s} == 1',
          'for': '15m',
          summary: 'Nothing of {{ $labels.%(memberLabel)s }} is uploaded.',
          description: 'For 15 minutes something has kept {{ $labels.%(memberLabel)s }} from uploading anything: its blocks, and its head when it leaves, are not in the bucket.',
        },
        {
          alert: 'RingsideUploadBlocksRefused',
          severity: 'warning',
          expr: 'ringside_upload_refused_blocks{%(ringsideSelector)s} > 0',
          summary: 'Blocks of {{ $labels.%(memberLabel)s }} are not uploaded.',
          description: '{{ $value }} blocks of {{ $labels.%(memberLabel)s }} are not uploaded, or not all of them, and never will be as things are. They go when the retention of Prometheus ends.',
        },
        {
          alert: 'RingsideUploadsFailing',
          severity: 'warning',
          expr: 'increase(ringside_upload_blocks_total{%(ringsideSelector)s, outcome="failed"}[30m]) > 2',
          summary: 'Uploads of {{ $labels.%(memberLabel)s }} keep failing.',
          description: '{{ $value | humanize }} uploads of blocks of {{ $labels.%(memberLabel)s }} have failed in 30 minutes. They are tried again, and go on where they ended.',
        },
        {
          alert: 'RingsideFlushFailed',
          severity: 'critical',
          expr: 'increase(ringside_flush_failures_total{%(ringsideSelector)s}[15m]) > 0',
          'for': '0m',
          keep_firing_for: '1h',
          summary: 'The head of {{ $labels.%(memberLabel)s }} could not be saved.',
          description: 'Prometheus beside {{ $labels.%(memberLabel)s }} has gone, and its head, up to some hours of samples, could not be cut into blocks. It is on the volume still.',
        },
      ]),
    ],
  },
}
