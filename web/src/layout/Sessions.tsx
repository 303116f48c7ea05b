import { CheckCircleFilled } from '@ant-design/icons';
import { Button, Modal, Table } from 'antd';
import { useDeed, useGet } from '@/api/query';
import type { List, OwnSession } from '@/api/types';
import { Fetched } from '@/components/Fetched';
import { Sign } from '@/components/states';
import { Time } from '@/components/Time';
import frame from '@/i18n/frame';
import { useText } from '@/i18n/language';

/** Where one is signed in, and how that ends there. */
export default function Sessions({ onClose }: { onClose: () => void }) {
  const t = useText(frame);
  const sessions = useGet<List<OwnSession>>('/sessions');
  const end = useDeed({ renews: ['/sessions', '/users'], said: t('sessionEnded') });
  const others = useDeed({ renews: ['/sessions', '/users'], said: t('signedOutOthers') });
  return (
    <Modal
      title={t('sessions')}
      open
      width={640}
      onCancel={onClose}
      footer={[
        <Button key="others" danger loading={others.isPending} disabled={(sessions.data?.total ?? 0) < 2} onClick={() => others.mutate({ method: 'DELETE', path: '/session/others' })}>
          {t('signOutOthers')}
        </Button>,
        <Button key="close" onClick={onClose}>{t('close')}</Button>,
      ]}
    >
      <p className="ek-dim">{t('sessionsHint')}</p>
      <Fetched of={sessions}>
        {({ items }) => (
          <Table<OwnSession>
            size="small"
            rowKey="id"
            dataSource={items}
            pagination={false}
            scroll={{ x: 520 }}
            columns={[
              { title: t('sessionSeen'), dataIndex: 'seenAt', render: (at: string) => <Time at={at} relative /> },
              { title: t('sessionBegan'), dataIndex: 'createdAt', render: (at: string) => <Time at={at} /> },
              { title: t('sessionFrom'), dataIndex: 'address', render: (address: string) => <code>{address}</code> },
              {
                title: '',
                key: 'end',
                align: 'right',
                render: (_, { id, address, current }) =>
                  current ? (
                    <Sign tone="good" sign={<CheckCircleFilled />} bare>{t('sessionThis')}</Sign>
                  ) : (
                    <Button size="small" aria-label={`${t('sessionEnd')}: ${address}`} onClick={() => end.mutate({ method: 'DELETE', path: `/sessions/${encodeURIComponent(id)}` })}>
                      {t('sessionEnd')}
                    </Button>
                  ),
              },
            ]}
          />
        )}
      </Fetched>
    </Modal>
  );
}
